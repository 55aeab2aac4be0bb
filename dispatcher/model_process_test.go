package dispatcher_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
	"github.com/recapito/recapito/store/sqlite"
)

// rows are what outlives a process.
type rows interface {
	// open opens them for the next process.
	open(t *testing.T) store.Store
	// close ends what open began, in order.
	close(t *testing.T)
	// abandon leaves them as a killed process does; clean frees what is left
	// of it, when nothing of it runs any more.
	abandon(t *testing.T) (clean func())
	// shift makes all times in them so much later. It reports false if it
	// cannot.
	shift(t *testing.T, by time.Duration) bool
}

// inMemory are rows that live as long as the test.
type inMemory struct{ s store.Store }

func (m *inMemory) open(*testing.T) store.Store {
	if m.s == nil {
		m.s = memory.New(memory.Config{})
	}
	return m.s
}

func (m *inMemory) close(*testing.T)                     {}
func (m *inMemory) abandon(*testing.T) func()            { return func() {} }
func (m *inMemory) shift(*testing.T, time.Duration) bool { return false }

// onDisk are rows in a database file.
type onDisk struct {
	dir string
	n   int // of the file
	s   *sqlite.Store
}

func (d *onDisk) path() string { return filepath.Join(d.dir, fmt.Sprint(d.n, ".db")) }

func (d *onDisk) open(t *testing.T) store.Store {
	// Nobody else writes, and to look for it takes its time in lives of days.
	s, err := sqlite.Open(context.Background(), sqlite.Config{Path: d.path(), OthersGap: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(context.Background(), sqlite.Config{Path: d.path()}); err == nil {
		t.Error("a second process serves the file")
	}
	d.s = s
	return s
}

func (d *onDisk) close(t *testing.T) {
	if err := d.s.Close(); err != nil {
		t.Error(err)
	}
}

// abandon goes on with a copy of the file and its log as they are now.
func (d *onDisk) abandon(t *testing.T) func() {
	left, from := d.s, d.path()
	d.n++
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(from + suffix)
		if err == nil {
			err = os.WriteFile(d.path()+suffix, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return func() { _ = left.Close() }
}

func (d *onDisk) shift(t *testing.T, by time.Duration) bool {
	// A connection that was reading when the store was closed may still be closing.
	db, err := sql.Open("sqlite", "file:"+d.path()+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	for _, update := range []string{
		`UPDATE deliveries SET accepted_at = accepted_at + ?`,
		`UPDATE listed SET accepted_at = accepted_at + ?`,
		`UPDATE waiting SET due_at = due_at + ? WHERE due_at > 0`,
		`UPDATE waiting SET replayed_at = replayed_at + ? WHERE replayed_at > 0`,
		`UPDATE outcomes SET at = at + ? WHERE at > 0`,
		`UPDATE outcomes SET ended_at = ended_at + ? WHERE ended_at > 0`,
	} {
		if _, e := db.Exec(update, by.Microseconds()); e != nil {
			err = errors.Join(err, e)
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return true
}

// begin starts the next process.
func (w *world) begin() {
	kept := w.rows.open(w.t)
	w.recv.mu.Lock()
	for id, e := range w.events {
		d, _, err := kept.Delivery(context.Background(), name(index(id)), id)
		if err != nil || d.DueAt.Before(e.failed.Add(minGap)) {
			e.failed = time.Time{} // of which no outcome was recorded: it is attempted again at once
		}
	}
	w.kept, w.slow = kept, w.slow.reopened(kept)
	w.starts++
	w.recv.idle = idle{}
	close(w.over)
	w.over = make(chan struct{})
	for i := range w.settled {
		w.settled[i] = closed
	}
	clear(w.open)
	for i := range w.accounts {
		end := &w.accounts[i] // what it had learnt is lost
		end.open, end.acked, end.failures, end.term = 0, false, 0, -1
		end.probes = w.wasOpen(i)
		end.wasOpen = end.probes
	}
	w.recv.mu.Unlock()
	w.store = w.slow
	w.plugIn(&w.cfg, w.recv)
	w.start()
}

// wasOpen reports whether it is recorded that an account's breaker is open.
func (w *world) wasOpen(account int) bool {
	h, err := w.kept.Webhook(context.Background(), name(account))
	return err == nil && h.Health.State == store.HealthProbing
}

// kill ends the process at once, while it accepts something, and starts the
// next one. The platform, which got no answer, repeats.
func (w *world) kill(s step) {
	events, made := w.make(s)
	dying := w.slow
	w.killed.Go(func() { _, _ = dying.Accept(context.Background(), events, time.Now()) })
	w.after(s.killAfter())
	dying.die()
	w.power()
	clean, stop := w.rows.abandon(w.t), w.stop
	w.killed.Go(func() { stop(); clean() })
	w.begin()
	w.hand(events, made)
}

// jump makes the clock jump while no process runs. In the test's own clock that
// is to say that the rows were written by one that was ahead or behind.
func (w *world) jump(by time.Duration) {
	if !w.rows.shift(w.t, -by) {
		return
	}
	for _, e := range w.events {
		e.accepted, e.failed = e.accepted.Add(-by), time.Time{} // it was by another clock
		if !e.first.IsZero() {
			e.first = e.first.Add(-by)
		}
	}
	w.healedNow() // what was accepted just now may look old
}

// noteRewound: where the clock is behind the newest event, everything that was
// put off is due.
func (w *world) noteRewound() {
	if last, _ := w.kept.LastAccepted(context.Background()); time.Until(last) <= time.Second {
		return
	}
	for i := range modelAccounts {
		w.noteDue(i)
	}
}

// noteDue: all that the account has put off is due.
func (w *world) noteDue(account int) {
	w.recv.mu.Lock()
	defer w.recv.mu.Unlock()
	for id, e := range w.events {
		if index(id) != account {
			continue
		}
		if d, _, _ := w.kept.Delivery(context.Background(), name(account), id); d.State == store.Pending && !d.DueAt.IsZero() {
			e.due = time.Now()
		}
	}
}

// plugIn connects the next process with the store, and with the endpoints until
// its power is gone.
func (w *world) plugIn(c *dispatcher.Config, endpoints *receiver) {
	c.Store = w.slow
	ctx, power := context.WithCancel(context.Background())
	c.Sender, w.power = &wire{receiver: endpoints, powered: ctx}, power
}

// wire is what a process sends by; when its process is killed, attempts under
// way end and no more bytes are sent.
type wire struct {
	*receiver
	powered context.Context
}

func (p *wire) Post(ctx context.Context, r *egress.Request) egress.Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.powered, cancel)()
	if proceed := r.Proceed; proceed != nil {
		r.Proceed = func() error {
			if err := p.powered.Err(); err != nil {
				return err
			}
			return proceed()
		}
	}
	return p.receiver.Post(ctx, r)
}
