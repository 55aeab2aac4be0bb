package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const backlogAccounts = 100 // whose endpoints are down; one more is healthy

// backlog: what millions of waiting events cost.
func backlog(l *lab) error {
	var f backlogFigures
	for range l.Rounds {
		if err := l.backlogRound(&f); err != nil {
			return err
		}
	}
	l.table(fmt.Sprintf("A backlog of %d events over %d endpoints that are down", l.Backlog, backlogAccounts), "what", "figure", "aim")
	l.row("RSS, MiB", f.rss.show("%.0f"), "≤ 150")
	l.row("peak", f.peak.show("%.0f"), "")
	l.row("RSS after the restart, MiB", f.rssAgain.show("%.0f"), "≤ 150")
	l.row("peak", f.peakAgain.show("%.0f"), "")
	l.row("accepted/s, the first 200,000", f.empty.show("%.0f"), "")
	l.row("the last 200,000", f.full.show("%.0f"), "")
	l.row("ratio", f.ratio.show("%.2f"), "≥ 0.8")
	l.row("from starting the process anew to the first delivery, s", f.first.show("%.2f"), "≤ 2")
	return nil
}

type backlogFigures struct{ rss, peak, rssAgain, peakAgain, empty, full, ratio, first figures }

func (l *lab) backlogRound(f *backlogFigures) (err error) {
	r, err := l.begin()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	down, err := broken(r.sink, "refuse")
	if err != nil {
		return err
	}
	if err := r.register(backlogAccounts, down); err != nil {
		return err
	}
	if err := r.register(1, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
		return err
	}
	feed := rig.Feed{Events: 200_000, Batch: 500, Clients: 8, Accounts: backlogAccounts}
	empty, err := r.acceptRate(feed)
	if err != nil {
		return err
	}
	rest := feed
	rest.Events = l.Backlog - 2*feed.Events
	if err := r.feed(rest); err != nil {
		return err
	}
	full, err := r.acceptRate(feed)
	if err != nil {
		return err
	}
	usage, err := rig.Measure(r.service.PID())
	if err != nil {
		return err
	}
	if err := r.service.Stop(); err != nil {
		return err
	}
	first, err := r.restart()
	if err != nil {
		return err
	}
	again, err := rig.Measure(r.service.PID())
	if err != nil {
		return err
	}
	f.rss, f.peak = append(f.rss, float64(usage.RSS)/1024), append(f.peak, float64(usage.PeakRSS)/1024)
	f.rssAgain, f.peakAgain = append(f.rssAgain, float64(again.RSS)/1024), append(f.peakAgain, float64(again.PeakRSS)/1024)
	f.empty, f.full, f.ratio = append(f.empty, empty), append(f.full, full), append(f.ratio, full/empty)
	f.first = append(f.first, first.Seconds())
	return nil
}

func (r *run) acceptRate(f rig.Feed) (float64, error) {
	begin := time.Now()
	err := r.feed(f)
	return float64(f.Events) / time.Since(begin).Seconds(), err
}

// restart starts the service and sends an event for the healthy account as soon
// as it is taken.
func (r *run) restart() (time.Duration, error) {
	if err := r.sink.Clear(); err != nil {
		return 0, err
	}
	addr, err := rig.FreeAddr()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if r.service, err = rig.Launch(rig.Options{Bin: r.lab.bin, Dir: r.dir, CA: r.sink.CA, Flags: r.lab.Flag, Listen: addr}); err != nil {
		return 0, err
	}
	healthy := rig.Feed{Events: 1, Batch: 1, Clients: 1, Accounts: 1, Patient: true, Account: func(int) string { return rig.Account(backlogAccounts) }}
	if err := r.feed(healthy); err != nil {
		return 0, err
	}
	c, err := r.sink.AwaitUnique(1, time.Minute)
	return c.First.Sub(begin), err
}

// get is a load of reads by the accounts whose keys are given.
func (r *run) get(path string, requests int, perSecond float64, key func(i int) string) rig.Load {
	return rig.Load{URL: r.service.URL, Clients: 16, Requests: requests, PerSecond: perSecond, Want: http.StatusOK,
		Make: func(i int) (string, string, string, []byte) {
			return http.MethodGet, path, "X-API-Key: " + key(i), nil
		}}
}
