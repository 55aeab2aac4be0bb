package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const (
	isolationHalf = 500              // endpoints of each kind
	isolationRate = 1500             // events/s for each half
	isolationTime = 25 * time.Second // longer than two deadlines
)

// isolation: how 500 broken endpoints affect 500 healthy ones. They are in
// another process, so that they do not slow down the sink of the healthy.
func isolation(l *lab) error {
	l.table(fmt.Sprintf("Isolation: %d healthy endpoints at %d events/s, beside as many others at the same rate", isolationHalf, isolationRate),
		"the others", "healthy p50 ms", "healthy p99 ms", "ratio to none", "aim", "healthy delivered/s", "ratio to none", "aim")
	rows := []struct {
		others, name string
		aims         [2]string
		isolationFigures
	}{
		{others: "", name: "none", aims: isolationAims},
		{others: rig.OK, name: "healthy"}, // to compare with
		{others: rig.Hang, name: rig.Hang, aims: isolationAims},
		{others: rig.Drip, name: rig.Drip, aims: isolationAims},
		{others: "refuse", name: "refuse", aims: isolationAims},
	}
	for range l.Rounds {
		for i := range rows {
			if err := l.isolationRound(rows[i].others, &rows[i].isolationFigures); err != nil {
				return err
			}
		}
	}
	none := rows[0]
	for _, r := range rows {
		l.row(r.name, r.p50.show("%.1f"), r.p99.show("%.1f"), fmt.Sprintf("%.2f", r.p99.median()/none.p99.median()), r.aims[0],
			r.rate.show("%.0f"), fmt.Sprintf("%.2f", r.rate.median()/none.rate.median()), r.aims[1])
	}
	return nil
}

var isolationAims = [2]string{"≤ 1.2", "≥ 0.9"} // p99 and rate, beside none

type isolationFigures struct{ p50, p99, rate figures }

func (l *lab) isolationRound(others string, f *isolationFigures) (err error) {
	r, err := l.prepare()
	if err != nil {
		return err
	}
	sick, err := r.anotherSink()
	if err != nil {
		return err
	}
	defer sick.Kill()
	if err := r.serve(); err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	if err := r.register(isolationHalf, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
		return err
	}
	url, err := broken(sick, others)
	if err != nil {
		return err
	}
	if err := r.register(isolationHalf, url); err != nil {
		return err
	}
	if err := sick.Issue(isolationHalf, isolationHalf); err != nil {
		return err
	}
	events := int(isolationTime.Seconds() * isolationRate)
	healthy := rig.Feed{Events: events, Batch: 50, Clients: 8, Accounts: isolationHalf, PerSecond: isolationRate, Seed: 1}
	warm := healthy
	warm.Events, warm.PerSecond = 4*isolationHalf, 0
	if err := r.deliver(warm); err != nil {
		return err
	}
	if err := r.sink.Clear(); err != nil {
		return err
	}
	broken := healthy
	healthy.From, broken.From = r.fed, r.fed+events
	broken.Seed = 2
	broken.Account = func(i int) string { return rig.Account(isolationHalf + i) }
	var feeds sync.WaitGroup
	var brokenErr error
	if others != "" {
		feeds.Go(func() { brokenErr = broken.Run(r.service) })
	}
	begin := time.Now()
	err = healthy.Run(r.service)
	feeds.Wait()
	if err := errors.Join(err, brokenErr); err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	c, err := r.sink.AwaitUnique(events, time.Minute)
	if err != nil {
		return err
	}
	f.p50, f.p99 = append(f.p50, millis(c.P50)), append(f.p99, millis(c.P99))
	f.rate = append(f.rate, float64(events)/time.Since(begin).Seconds())
	return nil
}

// anotherSink starts another sink, which the run's service trusts too.
func (r *run) anotherSink() (*rig.Sink, error) {
	dir, err := os.MkdirTemp(r.dir, "sink-")
	if err != nil {
		return nil, err
	}
	s, err := rig.StartSink(dir)
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile(r.sink.CA)
	if err != nil {
		return nil, err
	}
	its, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, err
	}
	return s, os.WriteFile(r.sink.CA, append(own, its...), 0o600)
}

// broken are the URLs of endpoints with that behaviour. "refuse": nobody
// listens.
func broken(sink *rig.Sink, behaviour string) (func(i int) string, error) {
	if behaviour != "refuse" {
		return func(i int) string { return sink.Endpoint(behaviour, i) }, nil
	}
	addr, err := rig.FreeAddr()
	if err != nil {
		return nil, err
	}
	_, free, err := net.SplitHostPort(addr)
	return func(i int) string {
		url := sink.Endpoint("x", i)
		host, _, _ := strings.Cut(strings.TrimPrefix(url, "https://"), ":")
		return "https://" + net.JoinHostPort(host, free) + "/x"
	}, err
}
