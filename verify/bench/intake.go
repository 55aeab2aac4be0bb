package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const (
	intakeSingles = 200 // of one account, 20 a second
	intakeClients = 4   // of another, each with batches of 1,000, one after the other
)

// intake: how long one account's single event waits for its 202, alone and while
// another account hands in as much as it can.
func intake(l *lab) error {
	var alone, beside, p99, times, rate figures
	for range l.Rounds {
		if err := l.intakeRound(&alone, &beside, &p99, &times, &rate); err != nil {
			return err
		}
	}
	l.table(fmt.Sprintf("Intake: a single event's 202, beside batches of 1,000 of another account from %d clients", intakeClients),
		"alone p50, ms", "beside p50, ms", "ratio", "aim", "beside p99, ms", "the other's events/s")
	l.row(alone.show("%.1f"), beside.show("%.1f"), times.show("%.1f"), "≤ 3", p99.show("%.0f"), rate.show("%.0f"))
	return nil
}

func (l *lab) intakeRound(alone, beside, p99, times, rate *figures) (err error) {
	r, err := l.begin()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	if err := r.register(2, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
		return err
	}
	quiet, _, err := r.singles()
	if err != nil {
		return err
	}
	stop, ended := make(chan struct{}), make(chan error, 1)
	begin := time.Now()
	var accepted atomic.Int64
	great := rig.Feed{
		Events: 1 << 30, From: 1 << 31, Batch: 1000, Clients: intakeClients, Accounts: 1, Stop: stop,
		Accepted: func(_, n int) { accepted.Add(int64(n)) },
	}
	go func() { ended <- great.Run(r.service) }()
	p50, late, err := r.singles()
	close(stop)
	err = errors.Join(err, <-ended)
	*alone, *beside, *p99, *times = append(*alone, quiet), append(*beside, p50), append(*p99, late), append(*times, p50/quiet)
	*rate = append(*rate, float64(accepted.Load())/time.Since(begin).Seconds())
	return err
}

// singles hands in the other account's events, one after the other.
func (r *run) singles() (p50, p99 float64, err error) {
	var took []time.Duration
	err = r.feed(rig.Feed{
		Events: intakeSingles, Batch: 1, Clients: 1, Accounts: 1, PerSecond: 20,
		Account: func(int) string { return rig.Account(1) }, Took: func(d time.Duration) { took = append(took, d) },
	})
	if err != nil {
		return 0, 0, err
	}
	median, late, _ := rig.Quantiles(took)
	return millis(median), millis(late), nil
}
