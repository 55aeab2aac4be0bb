package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/recapito/recapito/store"
)

// replay has some of what has ended sent again, each again and again until it is
// certain. What is still under way, or has not been handed over, is left out.
func (w *world) replay(s step) {
	account := name(s.Account)
	ids := slices.Sorted(maps.Keys(w.events))
	ids = slices.DeleteFunc(ids, func(id string) bool {
		d, _, err := w.kept.Delivery(context.Background(), account, id)
		return !strings.HasPrefix(id, account+"-") || err != nil || d.State == store.Pending || w.slow.isHidden(d)
	})
	for i := range s.Events {
		if len(ids) == 0 {
			return
		}
		n := s.Events[i] * 7 % len(ids)
		w.replayOne(account, w.events[ids[n]])
		ids = slices.Delete(ids, n, n+1)
	}
}

// replayOne leaves out what a bulk replay has sent again since the event was chosen.
func (w *world) replayOne(account string, e *modelEvent) {
	w.recv.mu.Lock()
	d, _, err := w.kept.Delivery(context.Background(), account, e.id)
	open, before := w.open[e.queue()] == e, *e
	if open || err != nil || d.State == store.Pending {
		w.recv.mu.Unlock()
		return
	}
	w.replays++
	*e = modelEvent{id: e.id, message: e.message, accepted: time.Now(), replay: w.replays}
	w.recv.mu.Unlock()
	for err = errTrouble; errors.Is(err, errTrouble); {
		err = w.store.Replay(context.Background(), account, e.id, time.Now())
	}
	if errors.Is(err, store.ErrNoWebhook) {
		w.recv.mu.Lock()
		defer w.recv.mu.Unlock()
		*e = before
	}
}

// replayAll begins a bulk replay, again and again until it is certain.
func (w *world) replayAll(account string) {
	w.recv.mu.Lock()
	w.replays++
	id := fmt.Sprint("rpl_", w.replays)
	w.recv.mu.Unlock()
	b := store.BulkReplay{ID: id, AccountID: account, Asked: []byte("{}"), StartedAt: time.Now()}
	for err := errTrouble; errors.Is(err, errTrouble); {
		err = w.store.StartReplay(context.Background(), b)
	}
}

// renew notes that an event that is about to be attempted has been replayed since the
// last time.
func (w *world) renew(e *modelEvent) {
	d, _, err := w.kept.Delivery(context.Background(), name(index(e.id)), e.id)
	if err != nil || !d.IsReplay() || d.Replay.At.Equal(e.replayedAt) {
		return
	}
	if e.replay > 0 && e.replayedAt.IsZero() { // by itself
		e.replayedAt = d.Replay.At
		return
	}
	w.replays++
	*e = modelEvent{id: e.id, message: e.message, accepted: d.Replay.At, replay: w.replays, replayedAt: d.Replay.At, due: e.due, deleted: e.deleted}
}

// queue is in which an event is in order, with the others of its message.
func (e *modelEvent) queue() string {
	if e.replay > 0 {
		return e.message + " again"
	}
	return e.message
}

// before reports whether an event goes before another that was accepted later.
func (e *modelEvent) before(other *modelEvent) bool {
	return e.queue() == other.queue() && e.replay <= other.replay
}

// queueOf is the queue of a delivery.
func queueOf(d *store.Delivery) string {
	if d.IsReplay() {
		return d.MessageID + " again"
	}
	return d.MessageID
}

// probed is the place, among PENDING deliveries in order of acceptance, of the one
// that an open breaker probes with: the first that has been handed over, and a replay
// only if there is no other.
func (w *world) probed(pending []store.Delivery) (first int) {
	first = -1
	for i := range pending {
		d := &pending[i]
		switch {
		case w.slow.isHidden(*d):
		case first < 0, pending[first].IsReplay() && (!d.IsReplay() || d.Replay.At.Before(pending[first].Replay.At)):
			first = i
		}
	}
	return first
}
