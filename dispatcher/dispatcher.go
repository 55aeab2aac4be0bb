// Package dispatcher brings accepted events to their callback URLs by HTTPS
// POST. It promises:
//
//   - Every PENDING delivery is attempted until it is acknowledged, given up or
//     cancelled.
//   - Only one event of a message is in flight at a time, in order of acceptance.
//   - An account's failing endpoint takes neither slots nor memory from the others.
//   - Its memory is bounded by its configuration. It never holds the only copy:
//     the rows in the store are the truth, and [Dispatcher.Run] goes on from them
//     after any stop.
//   - Delivery is at least once: an attempt whose outcome was not recorded before
//     a crash is made again.
//
// It does not decide what is accepted (package server), keeps nothing (package
// store), and does not dial (package egress).
package dispatcher

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/dispatcher/fair"
	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
)

// Sender makes one HTTP request; *[egress.Client] is the real one.
type Sender interface {
	// Post ends by the request's deadline at the latest, and when ctx does.
	Post(ctx context.Context, r *egress.Request) egress.Result
}

// Store is the part of the store that the dispatcher uses.
type Store interface {
	store.Queue
	store.Upkeep
	store.Readiness
	// Of [store.Replays], to tell how they ended.
	BulkReplays(ctx context.Context, accountID string, limit int) ([]store.BulkReplay, error)
	ReplayGroups(ctx context.Context, limit int) ([]store.ReplayGroup, error)
}

// Config configures a [Dispatcher].
type Config struct {
	Store  Store
	Sender Sender

	RetrySchedule  []time.Duration // gaps between attempts; default [lane.DefaultSchedule]
	RetryHorizon   time.Duration   // age at which a delivery is given up; default 72 h
	AttemptTimeout time.Duration   // of one attempt, whole; default 10 s
	OrderWait      time.Duration   // an event waits for an earlier one of its message; default 60 s
	MaxInFlight    int             // attempts at a time; default 1024
	WindowBytes    int             // bodies waiting in memory; default 32 MiB
	Retention      time.Duration   // finished deliveries live so long; default 168 h
	SoftStop       time.Duration   // attempts under way may take so long at shutdown; default 10 s
	UserAgent      string          // default "Recapito"
	// Jitter returns numbers in [0, 1) that spread the retries; default
	// math/rand/v2's Float64.
	Jitter func() float64
	Tell   Tell
	Follow Follow       // may be nil
	Logger *slog.Logger // default: discards

	lane lane.Config // part of it
}

// Tell is told of what happens. Each may be nil, and must not block.
type Tell struct {
	Attempt func(Observation)        // after it ended
	Health  func(store.HealthChange) // of an endpoint's state, after it was recorded
	Change  func(Change)             // once
}

// Dispatcher owns the lanes and every goroutine that works on them. It is the
// store's [store.Listener].
type Dispatcher struct {
	cfg Config

	// mu guards all that follows and every lane; nobody calls the store or the
	// network while holding it.
	mu         sync.Mutex
	scan       scan // of the accounts with PENDING deliveries
	lanes      map[string]*member
	departures departures // lost accounts whose attempts have not ended
	slots      slots
	workers    workers
	jobs       jobs // lanes with a read or write of the store
	recorder   recorder
	alarms     alarms // lanes by the time at which they want attention
	clock      clock
	news       []news
	counts     counts
	sweeper    sweeper
	bulk       bulk
}

// New checks the configuration, fills in the defaults, and checks whether the
// clock is behind the newest delivery in the store.
func New(cfg Config) (*Dispatcher, error) {
	if cfg.Store == nil || cfg.Sender == nil {
		return nil, errors.New("dispatcher: Store and Sender are required")
	}
	cfg.setDefaults()
	d := &Dispatcher{
		cfg:      cfg,
		lanes:    map[string]*member{},
		slots:    newSlots(cfg.MaxInFlight),
		jobs:     newJobs(fair.NewShares(cfg.WindowBytes, eighths[:]...)),
		recorder: newRecorder(),
		alarms:   newAlarms(),
	}
	d.bulk = newBulk(&d.cfg)
	var err error
	if d.clock.wall, err = cfg.Store.LastAccepted(context.Background()); err != nil {
		return nil, err
	}
	return d, nil
}

// Run delivers until ctx ends, then starts no more attempts, lets those under
// way finish for Config.SoftStop, records their outcomes and returns. Every
// goroutine that it started has ended by then. It can run once.
func (d *Dispatcher) Run(ctx context.Context) error {
	// Work under way outlives ctx; hardStop ends it.
	workCtx, hardStop := context.WithCancel(context.WithoutCancel(ctx))
	defer hardStop()
	jobCtx, stopJobs := context.WithCancel(workCtx)
	// The recorder outlives every attempt.
	recordCtx, stopRecorder := context.WithCancel(context.WithoutCancel(ctx))

	d.mu.Lock()
	d.workers.ctx = workCtx
	d.mu.Unlock()

	var jobs, recorder sync.WaitGroup
	for range jobsAtOnce {
		jobs.Go(func() { d.doJobs(jobCtx) })
	}
	jobs.Go(func() { d.sweeper.run(jobCtx, &d.cfg) })
	jobs.Go(func() { d.bulk.run(jobCtx) })
	jobs.Go(func() { notify(jobCtx, &d.cfg) })
	recorder.Go(func() { (&recording{d: d}).run(recordCtx) })

	d.loop(ctx)
	defer d.tellNews() // of the last attempts

	d.mu.Lock()
	d.workers.close() // so that nothing starts any more
	d.mu.Unlock()
	stopJobs()
	jobs.Wait()
	d.workers.await(d.cfg.SoftStop, hardStop)
	stopRecorder()
	recorder.Wait()
	return nil
}

// loop owns the alarms. It looks at each lane when it is due, marks slow
// attempts, and finds the accounts with work that an earlier process left.
func (d *Dispatcher) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	scan := scanner{d: d}
	for ctx.Err() == nil {
		more := scan.step(ctx)
		wait := d.attend(time.Now())
		d.tellNews()
		if more {
			wait = 0
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-d.alarms.kick:
		case <-timer.C:
		}
	}
}

const (
	// watchGap is how late an attempt may be found to be slow.
	watchGap = 250 * time.Millisecond
	// idleGap is how long the loop sleeps when nothing is to be done.
	idleGap = time.Hour
)

// attend looks at the lanes whose time has come and returns the time until the
// next.
func (d *Dispatcher) attend(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	for a := d.slots.nextSlow(now); a != nil; a = d.slots.nextSlow(now) {
		a.member.Slow(a.Attempt)
		a.member.apply(now)
	}
	if d.clock.setBack(now) {
		d.clockSetBack(now)
	}
	for m := d.alarms.due(now); m != nil; m = d.alarms.due(now) {
		m.apply(now)
	}
	d.startAttempts(now)
	wait := idleGap
	if at := d.alarms.first(); !at.IsZero() {
		wait = max(at.Sub(now), 0)
	}
	if now.Before(d.slots.barred) {
		wait = min(wait, d.slots.barred.Sub(now))
	}
	d.workers.dismiss(now)
	if d.slots.Total() > 0 || len(d.workers.idle) > 0 || !d.scan.Done {
		wait = min(wait, watchGap)
	}
	return wait
}

func (c *Config) setDefaults() {
	def(&c.RetryHorizon, 72*time.Hour)
	def(&c.AttemptTimeout, 10*time.Second)
	def(&c.OrderWait, time.Minute)
	def(&c.MaxInFlight, 1024)
	def(&c.WindowBytes, 32<<20)
	def(&c.Retention, 168*time.Hour)
	def(&c.SoftStop, 10*time.Second)
	def(&c.UserAgent, "Recapito")
	if c.RetrySchedule == nil {
		c.RetrySchedule = lane.DefaultSchedule
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	if c.Tell.Attempt == nil {
		c.Tell.Attempt = func(Observation) {}
	}
	if c.Tell.Health == nil {
		c.Tell.Health = func(store.HealthChange) {}
	}
	if c.Tell.Change == nil {
		c.Tell.Change = func(Change) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.lane = lane.Config{OrderWait: c.OrderWait, Policy: lane.Policy{
		Schedule: c.RetrySchedule, Horizon: c.RetryHorizon, Jitter: c.Jitter,
		Reserve: min(c.AttemptTimeout, c.RetryHorizon/10),
	}}
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
