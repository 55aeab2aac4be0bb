package main

import (
	"context"
	"fmt"
	"time"

	"github.com/recapito/recapito/bench/rig"
	"github.com/recapito/recapito/store/sqlite"
)

// accounts: what a million registrations cost.
func accounts(l *lab) error {
	var p99 []float64
	var idle rig.Usage
	sizes := []int{1000, l.Accounts}
	for _, n := range sizes {
		var f figures
		if err := l.accountsRun(n, &f, &idle); err != nil {
			return err
		}
		p99 = append(p99, f.median())
	}
	l.table(fmt.Sprintf("%d accounts with a webhook", l.Accounts), "what", "figure", "aim")
	l.row(fmt.Sprintf("GET p99 at 2,000/s, ms, with %d and %d accounts", sizes[0], sizes[1]), fmt.Sprintf("%.2f and %.2f, ratio %.2f", p99[0], p99[1], p99[1]/p99[0]), "≤ 1.5")
	l.row("idle RSS, MiB", fmt.Sprint(idle.RSS>>10), "≤ 60")
	return nil
}

func (l *lab) accountsRun(n int, f *figures, idle *rig.Usage) (err error) {
	r, err := l.prepare()
	if err != nil {
		return err
	}
	if err := r.seed(func(ctx context.Context, st *sqlite.Store) error {
		return seedAccounts(ctx, st, n, func(i int) string { return r.sink.Endpoint(rig.OK, i%1_000_000) })
	}); err != nil {
		return err
	}
	if err := r.serve(); err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	if *idle, err = rig.Measure(r.service.PID()); err != nil {
		return err
	}
	load := r.get("/webhooks/delivery-status", 20000, 2000, func(i int) string { return seedKey(i * 7919 % n) })
	for range l.Rounds + 1 { // the first one warms
		res, err := load.Run()
		if err != nil {
			return err
		}
		*f = append(*f, millis(res.P99))
	}
	*f = (*f)[1:]
	return nil
}

const historyAccounts = 100

// history: what millions of finished deliveries cost.
func history(l *lab) error {
	empty, err := l.historyRun(0, false)
	if err != nil {
		return err
	}
	full, err := l.historyRun(l.History, false)
	if err != nil {
		return err
	}
	swept, err := l.historyRun(l.History, true)
	if err != nil {
		return err
	}
	l.table(fmt.Sprintf("A history of %d deliveries over %d accounts", l.History, historyAccounts), "what", "figure", "aim")
	l.row("list of the newest 50, p99, ms", full.list.show("%.1f"), "≤ 20")
	l.row("list of 50 before any time, p99, ms", full.deep.show("%.1f"), "≤ 20")
	l.row("single read, p99, ms", full.read.show("%.1f"), "≤ 20")
	l.row("delivered/s, empty and with the history", fmt.Sprintf("%.0f and %.0f, ratio %.2f", empty.rate.median(), full.rate.median(), full.rate.median()/empty.rate.median()), "≥ 0.8")
	l.row("callback p99 at 2,000 events/s, ms, without and with the sweep", fmt.Sprintf("%.1f and %.1f, ratio %.2f", full.p99.median(), swept.p99.median(), swept.p99.median()/full.p99.median()), "≤ 1.1")
	return nil
}

// historyAge is how long ago the history begins.
const historyAge = 96 * time.Hour

type historyFigures struct{ list, deep, read, rate, p99 figures }

func (l *lab) historyRun(n int, swept bool) (f historyFigures, err error) {
	r, err := l.prepare()
	if err != nil {
		return f, err
	}
	now := time.Now()
	if err := r.seed(func(ctx context.Context, st *sqlite.Store) error {
		if err := seedAccounts(ctx, st, historyAccounts, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
			return err
		}
		return seedHistory(ctx, st, n, historyAccounts, now.Add(-historyAge), now)
	}); err != nil {
		return f, err
	}
	retention := 7 * 24 * time.Hour
	if swept {
		retention = 48 * time.Hour // half of it is too old
	}
	if err := r.serve("--retention", retention.String()); err != nil {
		return f, err
	}
	defer func() { err = r.end(err) }()
	key := func(i int) string { return seedKey(i * 7919 % historyAccounts) }
	if swept {
		if err := r.sweeping(2 * time.Minute); err != nil { // it begins after a minute
			return f, err
		}
	}
	for range l.Rounds {
		if err := r.historyRound(n, key, &f); err != nil {
			return f, err
		}
	}
	if swept {
		return f, r.sweeping(5 * time.Second) // it has not ended meanwhile
	}
	return f, nil
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

func (r *run) historyRound(n int, key func(int) string, f *historyFigures) error {
	feed := rig.Feed{Events: r.lab.Events / 2, Batch: 100, Clients: 8, Accounts: historyAccounts}
	begin := time.Now()
	if err := r.deliver(feed); err != nil {
		return err
	}
	f.rate = append(f.rate, float64(feed.Events)/time.Since(begin).Seconds())
	feed.Events, feed.PerSecond = 20000, 2000
	if err := r.deliver(feed); err != nil {
		return err
	}
	c, err := r.sink.Counts(0)
	if err != nil || n == 0 {
		return err
	}
	f.p99 = append(f.p99, millis(c.P99))
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
