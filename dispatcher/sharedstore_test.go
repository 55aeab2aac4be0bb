package dispatcher_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// others are the processes that share a store with the dispatcher's. They accept
// events, which it is handed later, and attempt for accounts that it has lost.
type others struct {
	shared  bool            // whether there are any
	hidden  map[string]bool // events that have not been handed over, and are in no page
	hiding  []string        // of these, those of the write under way
	streams map[int][]store.Acceptance
	away    map[string]time.Time // accounts that they attempt for, since when
	fenced  time.Time            // they took the process for dead; zero: not
	expired time.Time            // the process's lease has run out; zero: not
	frees   bool                 // the next account that comes back was held by another process
	// Of what the dispatcher records:
	recording func([]store.Outcome)
	refused   func(*store.Outcome)
}

func newOthers() others {
	return others{
		hidden: map[string]bool{}, streams: map[int][]store.Acceptance{}, away: map[string]time.Time{},
		recording: func([]store.Outcome) {}, refused: func(*store.Outcome) {},
	}
}

// streamDelay is how late a source is, for each that is before it.
const streamDelay = 4 * time.Millisecond

// source is the process that accepts all events of a message: the dispatcher's is
// the first of three.
func (s *slowStore) source(message string) int {
	if !s.shared {
		return 0
	}
	return int(message[len(message)-1]) % 3
}

// barred says since when no attempt may begin for an account; zero: one may.
func (s *slowStore) barred(account string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range []time.Time{s.away[account], s.fenced, s.expired} {
		if !at.IsZero() {
			return at
		}
	}
	return time.Time{}
}

// owned reports whether the account is the dispatcher's.
func (s *slowStore) owned(account string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away[account].IsZero() && s.fenced.IsZero()
}

// has reports whether the account would be the dispatcher's if it were not fenced.
func (s *slowStore) has(account int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away[name(account)].IsZero()
}

// May implements [store.Queue].
func (s *slowStore) May(account string) bool { return s.barred(account).IsZero() }

// hide keeps what is about to be accepted elsewhere out of every page.
func (s *slowStore) hide(events []store.Event) {
	for i := range events {
		e := &events[i]
		_, _, err := s.Delivery(context.Background(), e.AccountID, e.ID)
		if s.source(e.MessageID) == 0 || err == nil {
			continue
		}
		s.mu.Lock()
		s.hidden[e.ID] = true
		s.hiding = append(s.hiding, e.ID)
		s.mu.Unlock()
	}
}

func (s *slowStore) show(events ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		delete(s.hidden, e)
	}
}

func (s *slowStore) isHidden(d store.Delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hidden[d.EventID]
}

// handOver tells of what was accepted here, and later of what was elsewhere.
func (s *slowStore) handOver(batch []store.Acceptance) {
	var own []store.Acceptance
	for i := range batch {
		d := &batch[i].Delivery
		switch k := s.source(d.MessageID); {
		case !s.owned(d.AccountID):
			s.show(d.EventID)
		case k == 0:
			own = append(own, batch[i])
		default:
			s.mu.Lock()
			s.streams[k] = append(s.streams[k], batch[i])
			s.mu.Unlock()
			time.AfterFunc(time.Duration(k)*streamDelay, func() { s.tail(k) })
		}
	}
	if len(own) > 0 {
		s.listener.Accepted(own)
	}
}

// tail hands over what a source has accepted, as it is by now.
func (s *slowStore) tail(source int) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	read, dead := s.streams[source], s.dead
	s.streams[source] = nil
	s.mu.Unlock()
	if dead {
		return
	}
	var events []string
	for i := range read {
		events = append(events, read[i].Delivery.EventID)
	}
	s.show(events...) // at once: no page has a later one of them without an earlier one
	var batch []store.Acceptance
	for i := range read {
		ctx, account, event := context.Background(), read[i].Delivery.AccountID, read[i].Delivery.EventID
		d, _, err := s.Delivery(ctx, account, event)
		w, none := s.Webhook(ctx, account)
		if s.owned(account) && err == nil && d.State == store.Pending && none == nil && !d.IsReplay() && d.GoesTo(&w) {
			batch = append(batch, store.Acceptance{Delivery: d, Webhook: &w})
		}
	}
	if len(batch) > 0 {
		s.listener.Accepted(batch)
	}
}

// backlog is a page of what has been handed over.
func (s *slowStore) backlog(ctx context.Context, q store.BacklogQuery) (store.Backlog, error) {
	most := q.Fresh
	if most > 0 {
		q.Fresh = 1 << 20
	}
	b, err := s.Store.Backlog(ctx, q)
	s.mu.Lock()
	b.Fresh = slices.DeleteFunc(b.Fresh, func(d store.Delivery) bool { return s.hidden[d.EventID] })
	s.mu.Unlock()
	b.Fresh = b.Fresh[:min(most, len(b.Fresh))]
	return b, err
}

// oldest is the oldest of what has been handed over.
func (s *slowStore) oldest(ctx context.Context, account string) (store.Backlog, error) {
	b, err := s.Store.Oldest(ctx, account)
	if err != nil || len(b.Fresh) == 0 || !s.isHidden(b.Fresh[0]) {
		return b, err
	}
	replays := b.Replays
	b, err = s.backlog(ctx, store.BacklogQuery{AccountID: account, Now: time.Now().Add(10000 * time.Hour), Due: 1 << 20, Fresh: 1 << 20})
	all := append(b.Due, b.Fresh...)
	slices.SortFunc(all, func(a, b store.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	return store.Backlog{Webhook: b.Webhook, Fresh: all[:min(1, len(all))], Replays: replays}, err
}

// unlessFenced does what the dispatcher writes.
func unlessFenced[T any](s *slowStore, write func() (T, error)) func() (T, error) {
	return func() (result T, err error) {
		s.mu.Lock()
		fenced := !s.fenced.IsZero()
		s.mu.Unlock()
		if fenced {
			return result, store.ErrFenced
		}
		return write()
	}
}

// lose gives an account to the others.
func (s *slowStore) lose(account string) (settled <-chan struct{}, left func() []string) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	s.away[account] = time.Now()
	s.mu.Unlock()
	return s.listener.Lost(func(a string) bool { return a == account })
}

// gain takes an account back from the others, in turn among others and by itself. What has
// been accepted until then is found, and not handed over.
func (s *slowStore) gain(account string) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	delete(s.away, account)
	s.mu.Unlock()
	s.begin(account)
	if s.frees = !s.frees; s.frees {
		s.listener.Freed([]string{account})
		return
	}
	s.listener.Gained()
}

// fence lets the others take the process for dead.
func (s *slowStore) fence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fenced = time.Now()
}

// register makes it one of them again.
func (s *slowStore) register() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.listener.Lost(func(string) bool { return true })
	s.mu.Lock()
	s.fenced = time.Time{}
	s.mu.Unlock()
	for i := range modelAccounts {
		if s.owned(name(i)) {
			s.begin(name(i))
		}
	}
	s.listener.Gained()
}

// begin notes that an account is the dispatcher's from now on.
func (s *slowStore) begin(account string) {
	now := time.Now()
	t := s.toldOf(account)
	t.before, t.webhook, t.anew = nil, nil, true
	t.at, t.changed, t.committed = now, now, now
	t.term++
	if w, err := s.Webhook(context.Background(), account); err == nil {
		t.webhook = &w
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told[account] = &t
	for k, stream := range s.streams {
		s.streams[k] = slices.DeleteFunc(stream, func(a store.Acceptance) bool {
			if a.Delivery.AccountID == account {
				delete(s.hidden, a.Delivery.EventID)
			}
			return a.Delivery.AccountID == account
		})
	}
}

// expire lets the process's lease run out, or begins another.
func (s *slowStore) expire(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = at
}

// move gives an account to the others, or takes it back from them.
func (w *world) move(account int) {
	if w.slow.owned(name(account)) {
		slow, over := w.slow, w.over
		settled, left := slow.lose(name(account))
		w.settled[account] = settled
		w.checkLeft(settled, left, account)
		w.killed.Go(func() {
			select {
			case <-settled:
				w.checkSettled(slow, over, account)
			case <-over:
			}
		})
		return
	}
	select {
	case <-w.settled[account]:
		w.attemptElsewhere(account)
	default:
	}
	w.forget(account)
	w.slow.gain(name(account))
}

// outlive lets the others take the process for dead, and attempt for all of its
// accounts, until it is one of them again.
func (w *world) outlive(s step) {
	w.slow.fence()
	w.after(s.killAfter())
	for i := range modelAccounts {
		if w.slow.has(i) {
			w.attemptElsewhere(i)
			w.forget(i)
		}
	}
	w.fenced = true
	w.slow.register()
}

// forget notes that what the dispatcher has learnt of an endpoint is lost.
func (w *world) forget(account int) {
	w.recv.mu.Lock()
	defer w.recv.mu.Unlock()
	end := &w.accounts[account]
	end.acked, end.failures, end.term, end.healthy, end.moved = false, 0, -1, time.Now(), time.Now()
	end.probes = w.wasOpen(account)
	end.wasOpen = end.probes
}

// refuse notes that the dispatcher has lost an outcome, so that the attempt is made
// again.
func (w *world) refuse(o *store.Outcome) {
	w.recv.mu.Lock()
	defer w.recv.mu.Unlock()
	if e := w.events[o.Delivery.EventID]; e != nil {
		e.ackedIn, e.failed = -1, time.Time{}
	}
	if o.Attempt != nil {
		w.refused[attemptOf(o)] = true
	}
}

// attemptOf identifies the attempt of an outcome.
func attemptOf(o *store.Outcome) string { return fmt.Sprint(o.Delivery.EventID, o.Attempt.At) }

// checkRecorded: what was refused once is not tried again.
func (w *world) checkRecorded(outcomes []store.Outcome) {
	w.recv.mu.Lock()
	defer w.recv.mu.Unlock()
	for i := range outcomes {
		if o := &outcomes[i]; o.Attempt != nil && w.refused[attemptOf(o)] {
			w.errorf("an outcome of %s is to be recorded again, which was refused", o.Delivery.EventID)
		}
	}
}

// checkLeft: an account is left until it is settled.
func (w *world) checkLeft(settled <-chan struct{}, left func() []string, account int) {
	want := []string{name(account)}
	select {
	case <-settled:
		want = nil
	default:
	}
	got := left()
	select {
	case <-settled: // meanwhile, maybe
	default:
		if !slices.Equal(got, want) {
			w.errorf("of a%d, which was lost just now, %v are left, want %v", account, got, want)
		}
	}
}

// checkSettled: an account is given away when nothing of it is under way. The store
// is that of the process which gave it away.
func (w *world) checkSettled(slow *slowStore, over <-chan struct{}, account int) {
	if slow.owned(name(account)) {
		return // it has come back
	}
	w.recv.mu.Lock()
	defer w.recv.mu.Unlock()
	select {
	case <-over:
		return // so has the process
	default:
	}
	for id, e := range w.events {
		if index(id) != account {
			continue
		}
		if w.open[e.queue()] == e {
			w.errorf("%s is under way, though its account has been given away", id)
		}
		if d, _, err := w.kept.Delivery(context.Background(), name(account), id); err == nil && e.acked > 0 && e.ackedIn == w.starts && d.State == store.Pending && d.Replay.At.Equal(e.replayedAt) {
			w.errorf("%s is PENDING, though its account has been given away after it was acknowledged", id)
		}
	}
}

// attemptElsewhere makes an attempt for each message of an account: every second
// fails, and the others behind it are put off.
func (w *world) attemptElsewhere(account int) {
	ctx, now := context.Background(), time.Now()
	hook, err := w.kept.Webhook(ctx, name(account))
	page, failed := w.kept.Deliveries(ctx, store.DeliveryQuery{AccountID: name(account), States: []store.State{store.Pending}, Limit: 1 << 20})
	if failed != nil {
		w.errorf("%v", failed)
	}
	if err != nil || hook.Status != store.Active {
		return
	}
	w.recv.mu.Lock()
	defer w.recv.mu.Unlock()
	var outcomes []store.Outcome
	first := map[string]bool{}
	slices.SortFunc(page.Deliveries, func(a, b store.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	for i := range page.Deliveries {
		d := &page.Deliveries[i]
		e := w.events[d.EventID]
		fails, again := first[d.MessageID]
		switch {
		case e == nil, d.IsReplay(), !d.GoesTo(&hook), w.open[e.queue()] != nil:
		case again && fails && d.DueAt.IsZero():
			e.due = time.Time{}
			outcomes = append(outcomes, store.Outcome{Delivery: d, State: store.Pending, Failures: d.Failures, DueAt: now.Add(time.Minute), Behind: true})
		case !again && !d.DueAt.After(now):
			fails = d.Failures == 0 && e.message[len(e.message)-1]%2 == 0
			first[d.MessageID] = fails
			o := store.Outcome{Delivery: d, State: store.Delivered, Failures: d.Failures, Attempt: &store.Attempt{Number: d.Attempts + 1, At: now, StatusCode: 204}}
			e.due = time.Time{}
			e.attempts++
			if fails {
				o.State, o.Failures, o.DueAt = store.Pending, 1, now.Add(minGap)
				o.Attempt.StatusCode, o.Attempt.Error = 500, store.ErrorKind(egress.HTTPStatus.String())
				e.first, e.failed = now, now
			} else {
				e.acked++
				e.ackedIn = w.starts
			}
			outcomes = append(outcomes, o)
		case !again:
			first[d.MessageID] = true // it waits, and so do those behind it
		}
	}
	if err := w.kept.Record(ctx, outcomes, now); err != nil {
		w.errorf("%v", err)
	}
}

// bringBack ends all that the others have.
func (w *world) bringBack() {
	for i := range modelAccounts {
		if w.slow.owned(name(i)) {
			continue
		}
		select {
		case <-w.settled[i]:
		default:
			w.errorf("%s was lost long ago, and is not settled", name(i))
		}
		w.do(step{Kind: "move", Account: i})
	}
}

// closed is the settled of an account that a process had which has ended.
var closed = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// checkSlots: none is taken when no attempt could begin for so long.
func (w *world) checkSlots(barred time.Duration) {
	w.recv.mu.Lock()
	defer w.recv.mu.Unlock()
	if n := w.disp.Stats().SlotsInUse; barred > w.recv.connects() && n > len(w.open) {
		w.errorf("%d slots in use, of which %d have a connection, though no attempt may begin", n, len(w.open))
	}
}

// checkBarred: no attempt begins that may not.
func (w *world) checkBarred(c call, account int) {
	if at := w.slow.barred(name(account)); !at.IsZero() && time.Now().After(at) {
		w.errorf("%s began %v after the last that might", c.ID, time.Since(at))
	}
}
