package main

import (
	"context"
	"fmt"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/sqlite"
	"github.com/recapito/recapito/verify/rig"
)

const (
	healthRate     = 100
	healthRequests = 2000
)

// health: what it costs to ask for an account's health, however much the account has.
func health(l *lab) (err error) {
	sizes := [...]int{1000, l.History}
	var runs [len(sizes)]*run
	var cpu, p50, p99 [len(sizes)]figures
	for i, n := range sizes {
		if runs[i], err = l.prepare(); err != nil {
			return err
		}
		r := runs[i]
		defer func() { err = r.end(err) }()
		if err := r.seedHealth(n); err != nil {
			return err
		}
	}
	for range l.Rounds {
		for i, r := range runs {
			if err := r.serving(nil, func() error { return r.readHealth(&cpu[i], &p50[i], &p99[i]) }); err != nil {
				return err
			}
		}
	}
	l.table(fmt.Sprintf("The health of an account with %d deliveries, at %d requests/s", l.History, healthRate),
		"deliveries", "server CPU µs/request", "ratio", "aim", "p50 ms", "p99 ms")
	for i, n := range sizes {
		ratio, aim := "", ""
		if i > 0 {
			ratio, aim = fmt.Sprintf("%.2f", cpu[i].median()/cpu[0].median()), "≤ 1.2"
		}
		l.row(fmt.Sprint(n), cpu[i].show("%.0f"), ratio, aim, p50[i].show("%.2f"), p99[i].show("%.2f"))
	}
	return nil
}

// seedHealth makes a database of one account with n deliveries, of which the last thousand
// have failed.
func (r *run) seedHealth(n int) error {
	const failed = 1000
	now := time.Now()
	delivered := store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, Duration: 20 * time.Millisecond, StatusCode: 204}}
	given := store.Outcome{State: store.Failed, Failures: 1, Attempt: &store.Attempt{Number: 1, Duration: 20 * time.Millisecond, StatusCode: 500, Error: store.HTTPStatus}}
	return r.seed(func(ctx context.Context, st *sqlite.Store) error {
		if err := seedAccounts(ctx, st, 1, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
			return err
		}
		if err := seedHistory(ctx, st, 0, n-failed, 1, now.Add(-historyAge), now.Add(-time.Minute), delivered); err != nil {
			return err
		}
		return seedHistory(ctx, st, n-failed, failed, 1, now.Add(-time.Minute), now, given)
	})
}

// readHealth notes what the answers cost, and how long they took.
func (r *run) readHealth(cpu, p50, p99 *figures) error {
	load := r.get("/webhooks/delivery-status/health", healthRequests, healthRate, func(int) string { return seedKey(0) })
	if _, err := load.Run(); err != nil { // to warm it
		return err
	}
	before, err := rig.Measure(r.service.PID())
	if err != nil {
		return err
	}
	res, err := load.Run()
	if err != nil {
		return err
	}
	after, err := rig.Measure(r.service.PID())
	*cpu = append(*cpu, float64((after.CPU-before.CPU).Microseconds())/healthRequests)
	*p50, *p99 = append(*p50, millis(res.P50)), append(*p99, millis(res.P99))
	return err
}
