package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const (
	soakAccounts, soakBatch, soakClients = 100, 100, 8
	// soakGrowth is by how much a fitted line may rise from the end of the
	// warm-up to the end, as a share of the mean. In the short form the warm-up
	// is not over.
	soakGrowth = 0.1
)

// soak: half of what the service can do, for long. What it holds, in memory,
// files, goroutines and its store, stays the same, and nothing is left of it at
// rest.
func soak(l *lab) (found string, err error) {
	length := time.Duration(l.Minutes * float64(time.Minute))
	gap, most := 5*time.Second, 60_000
	if l.Short {
		length, gap, most = 18*time.Second, 500*time.Millisecond, 5_000
	}
	// What is kept reaches its greatest size within the warm-up.
	s, err := l.site(rig.Options{Flags: []string{"--retention", (length / 8).String()}})
	if err != nil {
		return "", err
	}
	defer func() { err = s.end(err) }()
	if err := s.serve(); err != nil {
		return "", err
	}
	if err := s.register(soakAccounts, func(i int) string { return s.sink.Endpoint(rig.OK, i) }); err != nil {
		return "", err
	}
	before, err := s.service.Vitals()
	if err != nil {
		return "", err
	}
	feed := rig.Feed{Batch: soakBatch, Clients: soakClients, Accounts: soakAccounts}
	whole, err := s.greatestRate(feed, most)
	if err != nil {
		return "", err
	}
	warm, err := s.service.Vitals()
	if err != nil {
		return "", err
	}
	before.RSS = warm.RSS
	feed.From, feed.PerSecond = 2*most, whole/2
	load := s.load(feed)
	record, err := s.watch(length, gap)
	n, ended := load.end()
	if err := errors.Join(err, ended); err != nil {
		return "", err
	}
	if err := errors.Join(s.arrived(n), s.once()); err != nil {
		return "", err
	}
	if l.Picture != "" {
		title := fmt.Sprintf("%.0f events/s, half of the greatest rate, for %v", feed.PerSecond, length.Round(time.Second))
		curves := make([]*rig.Curve, len(record))
		for i, c := range record {
			curves[i] = &c.Curve
		}
		if err := os.WriteFile(l.Picture, rig.Draw(title, curves...), 0o644); err != nil {
			return "", err
		}
	}
	found = fmt.Sprintf("%v at %.0f events/s, half of the greatest rate, %d events, 0 lost, 0 repeats", length.Round(time.Second), feed.PerSecond, n)
	var errs []error
	for _, c := range record {
		mean, slope := c.line()
		rise := slope * c.warm().Minutes() // from the warm-up's end on
		found += fmt.Sprintf("; %s %.1f, %+.1f an hour", c.Name, mean, slope*60)
		if rise > soakGrowth*mean+c.noise {
			errs = append(errs, l.late("%s rose by %.0f, more than %.0f %% of %.0f and its noise", c.Name, rise, 100*soakGrowth, mean))
		}
	}
	after, err := s.subside(before)
	found += fmt.Sprintf("; at rest %d files and %d goroutines (%d and %d before)", after.OpenFiles, after.Goroutines, before.OpenFiles, before.Goroutines)
	return found, errors.Join(append(errs, err)...)
}

// greatestRate feeds twice as fast as can be, and says how many events a
// second were delivered the second time.
func (s *site) greatestRate(f rig.Feed, events int) (float64, error) {
	var took time.Duration
	for i := range 2 {
		if err := s.sink.Clear(); err != nil {
			return 0, err
		}
		begin := time.Now()
		f.From, f.Events = i*events, events
		if err := f.Run(s.service); err != nil {
			return 0, err
		}
		if _, err := s.sink.AwaitUnique(events, 2*time.Minute); err != nil {
			return 0, err
		}
		took = time.Since(begin)
	}
	return float64(events) / took.Seconds(), s.sink.Clear()
}

// watch looks at the service once each gap.
func (s *site) watch(length, gap time.Duration) ([]*curve, error) {
	const few = 50 // attempts of the moment
	memory, files, goroutines := newCurve("RSS in MiB", 0), newCurve("open files", few), newCurve("goroutines", few)
	held := newCurve("deliveries held, thousands", 0)
	// These explain the others.
	underWay, commit := newCurve("attempts under way", math.Inf(1)), newCurve("ms a commit", math.Inf(1))
	const commits, spent = "recapito_commit_duration_seconds_count", "recapito_commit_duration_seconds_sum"
	last, err := s.service.Metrics()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	for time.Since(begin) < length {
		time.Sleep(gap)
		at := time.Since(begin)
		v, err := s.service.Vitals()
		if err != nil {
			return nil, err
		}
		m, err := s.service.Metrics()
		if err != nil {
			return nil, err
		}
		memory.Add(at, float64(v.RSS)/1024)
		files.Add(at, float64(v.OpenFiles))
		goroutines.Add(at, float64(v.Goroutines))
		held.Add(at, (m[`recapito_deliveries{state="DELIVERED"}`]+m["recapito_backlog"])/1000)
		underWay.Add(at, attempts(m))
		commit.Add(at, (m[spent]-last[spent])*1e3/max(1, m[commits]-last[commits]))
		last = m
	}
	return []*curve{memory, files, goroutines, held, underWay, commit}, nil
}

// arrived waits until n events have come since the sink was cleared, and
// nothing is left.
func (s *site) arrived(n int) error {
	if _, err := s.sink.AwaitUnique(n, time.Minute); err != nil {
		return fmt.Errorf("LOST: of %d accepted events not all arrived: %w", n, err)
	}
	return rig.Await(time.Minute, "the backlog to be empty", func() bool { return s.metric("recapito_backlog") == 0 })
}
