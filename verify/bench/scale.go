package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/sqlite"
	"github.com/recapito/recapito/verify/rig"
)

// accounts: what a million registrations cost.
func accounts(l *lab) (err error) {
	sizes := [...]int{1000, l.Accounts}
	var runs [len(sizes)]*run
	var p99, idle [len(sizes)]figures
	for i, n := range sizes {
		if runs[i], err = l.prepare(); err != nil {
			return err
		}
		r := runs[i]
		defer func() { err = r.end(err) }()
		if err := r.seed(func(ctx context.Context, st *sqlite.Store) error {
			return seedAccounts(ctx, st, n, func(i int) string { return r.sink.Endpoint(rig.OK, i) })
		}); err != nil {
			return err
		}
	}
	for range l.Rounds {
		for i, r := range runs {
			if err := r.serving(nil, func() error { return r.readWebhooks(sizes[i], &p99[i], &idle[i]) }); err != nil {
				return err
			}
		}
	}
	l.table(fmt.Sprintf("%d accounts with a webhook", l.Accounts), "what", "figure", "aim")
	l.row(fmt.Sprintf("GET p99 at 2,000/s, ms, with %d accounts", sizes[0]), p99[0].show("%.2f"), "")
	l.row(fmt.Sprintf("the same with %d", sizes[1]), fmt.Sprintf("%s, ratio %.2f", p99[1].show("%.2f"), p99[1].median()/p99[0].median()), "≤ 1.5")
	l.row("idle RSS, MiB", idle[1].show("%.0f"), "≤ 60")
	return nil
}

// readWebhooks notes what the idle service takes, and how long reads take.
func (r *run) readWebhooks(accounts int, p99, idle *figures) error {
	usage, err := rig.Measure(r.service.PID())
	if err != nil {
		return err
	}
	load := r.get("/webhooks/delivery-status", 20000, 2000, func(i int) string { return seedKey(i * 7919 % accounts) })
	var res rig.LoadResult
	for range 2 { // the first one warms
		if res, err = load.Run(); err != nil {
			return err
		}
	}
	*idle, *p99 = append(*idle, float64(usage.RSS)/1024), append(*p99, millis(res.P99))
	return nil
}

const historyAccounts = 100

// history: the cost of millions of finished deliveries.
func history(l *lab) (err error) {
	empty, err := l.prepare()
	if err != nil {
		return err
	}
	defer func() { err = empty.end(err) }()
	full, err := l.prepare()
	if err != nil {
		return err
	}
	defer func() { err = full.end(err) }()
	if err := errors.Join(empty.seedHistory(0), full.seedHistory(l.History)); err != nil {
		return err
	}
	var f historyFigures
	for range l.Rounds {
		if err := empty.serving(nil, func() error { return empty.rate(&f.empty) }); err != nil {
			return err
		}
		if err := full.serving(nil, func() error { return full.withHistory(&f) }); err != nil {
			return err
		}
		half := historyAge / 2 // of it is too old, then
		if err := full.serving([]string{"--retention", half.String()}, func() error { return full.swept(&f.swept) }); err != nil {
			return err
		}
	}
	l.table(fmt.Sprintf("A history of %d deliveries over %d accounts", l.History, historyAccounts), "what", "figure", "aim")
	l.row("list of the newest 50, p99, ms", f.list.show("%.1f"), "≤ 20")
	l.row("list of 50 before any time, p99, ms", f.deep.show("%.1f"), "≤ 20")
	l.row("single read, p99, ms", f.read.show("%.1f"), "≤ 20")
	l.row("delivered/s without the history", f.empty.show("%.0f"), "")
	l.row("delivered/s with it", fmt.Sprintf("%s, ratio %.2f", f.rate.show("%.0f"), f.rate.median()/f.empty.median()), "≥ 0.8")
	l.row("callback p99 at 2,000 events/s, ms", f.p99.show("%.1f"), "")
	l.row("the same beside the sweep", fmt.Sprintf("%s, ratio %.2f", f.swept.show("%.1f"), f.swept.median()/f.p99.median()), "≤ 1.1")
	return nil
}

// historyAge is how long ago the history begins.
const historyAge = 96 * time.Hour

type historyFigures struct{ list, deep, read, empty, rate, p99, swept figures }

// seedHistory makes a database with n finished deliveries.
func (r *run) seedHistory(n int) error {
	now := time.Now()
	return r.seed(func(ctx context.Context, st *sqlite.Store) error {
		if err := seedAccounts(ctx, st, historyAccounts, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
			return err
		}
		return seedHistory(ctx, st, 0, n, historyAccounts, now.Add(-historyAge), now, store.Outcome{State: store.Delivered,
			Attempt: &store.Attempt{Number: 1, Duration: 20 * time.Millisecond, StatusCode: 204}})
	})
}

// withHistory notes everything but what concerns the sweep.
func (r *run) withHistory(f *historyFigures) error {
	if err := r.rate(&f.rate); err != nil {
		return err
	}
	if err := r.paced(&f.p99); err != nil {
		return err
	}
	return r.readHistory(f)
}

// rate notes how many events a second are delivered.
func (r *run) rate(f *figures) error {
	feed := rig.Feed{Events: r.lab.Events / 2, Batch: 100, Clients: 8, Accounts: historyAccounts}
	if err := r.deliver(feed); err != nil { // connections, caches
		return err
	}
	begin := time.Now()
	err := r.deliver(feed)
	*f = append(*f, float64(feed.Events)/time.Since(begin).Seconds())
	return err
}

// paced notes the p99 of callbacks at a moderate rate, for half a minute.
func (r *run) paced(p99 *figures) error {
	feed := rig.Feed{Events: 60000, Batch: 100, Clients: 8, Accounts: historyAccounts, PerSecond: 2000}
	if err := r.deliver(feed); err != nil {
		return err
	}
	c, err := r.sink.Counts(0)
	*p99 = append(*p99, millis(c.P99))
	return err
}

// swept is paced beside the sweep.
func (r *run) swept(p99 *figures) error {
	if err := r.sweeping(2 * time.Minute); err != nil { // it begins after a minute
		return err
	}
	if err := r.rate(new(figures)); err != nil { // to warm it
		return err
	}
	if err := r.paced(p99); err != nil {
		return err
	}
	return r.sweeping(5 * time.Second) // it has not ended meanwhile
}

// sweeping waits until the idle service is seen to sweep: it commits.
func (r *run) sweeping(within time.Duration) error {
	const commits = "recapito_commit_duration_seconds_count"
	before, err := r.service.Metric(commits)
	if err != nil {
		return err
	}
	return rig.Await(within, "the service to sweep", func() bool {
		now, err := r.service.Metric(commits)
		return err == nil && now >= before+50
	})
}

// readHistory notes how long it takes to read in the history.
func (r *run) readHistory(f *historyFigures) error {
	n := r.lab.History
	key := func(i int) string { return seedKey(i * 7919 % historyAccounts) }
	const path = "/webhooks/delivery-status/deliveries?limit=50"
	list, err := r.get(path, 1000, 100, key).Run()
	if err != nil {
		return err
	}
	before := r.get("", 1000, 100, nil)
	before.Make = func(i int) (string, string, string, []byte) {
		ago := historyAge * time.Duration(100+i*7919%850) / 1000 // not in the oldest twentieth, which may be empty
		return "GET", path + "&to=" + time.Now().Add(-ago).UTC().Format(time.RFC3339), "X-API-Key: " + key(i), nil
	}
	deep, err := before.Run()
	if err != nil {
		return err
	}
	one := r.get("", 2000, 200, nil)
	one.Make = func(i int) (string, string, string, []byte) {
		at := n - 1 - i*7919%(n/4) // of the younger quarter
		return "GET", fmt.Sprintf("/webhooks/delivery-status/deliveries/old_%012d", at), "X-API-Key: " + seedKey(at%historyAccounts), nil
	}
	read, err := one.Run()
	f.list, f.deep, f.read = append(f.list, millis(list.P99)), append(f.deep, millis(deep.P99)), append(f.read, millis(read.P99))
	return err
}
