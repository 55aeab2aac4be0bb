package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const (
	clockStep = time.Hour
	// clockGap is the first gap of the schedule, so that many retries are pending
	// when the clock jumps; clockAfter is how soon all that was accepted before
	// must have arrived: several gaps, and nothing of an hour.
	clockGap   = 2 * time.Second
	clockAfter = 20 * time.Second
)

// clock: the wall clock of the service alone is set back and forth by an hour
// under load, as NTP does once it finds it wrong.
func clock(l *lab) (found string, err error) {
	c := &rig.Clock{}
	s, err := l.site(rig.Options{Clock: c, Flags: []string{"--retry-schedule", "2s,2s,2s,2s,2s,2s,2s,2s,2s,2s"}})
	if err != nil {
		return "", err
	}
	defer func() { err = s.end(err) }()
	if err := s.serve(); errors.Is(err, errors.ErrUnsupported) {
		return "", fmt.Errorf("%w: another process's clock: %w", errCannot, err)
	} else if err != nil {
		return "", err
	}
	if err := s.register(killAccounts, func(i int) string { return s.sink.Endpoint(rig.Flaky, i) }); err != nil {
		return "", err
	}
	load := s.load(rig.Feed{Batch: killBatch, Clients: 8, Accounts: killAccounts, PerMessage: 3, PerSecond: 500})
	var off, slowest time.Duration
	rounds := l.rounds(100, 4)
	for i := range rounds {
		time.Sleep(clockGap/4 + rand.N(clockGap/2))
		off = []time.Duration{-clockStep, 0, clockStep, 0}[i%4] // back first: that is what could stall
		took, err := s.step(load, c, off)
		if err != nil {
			return "", fmt.Errorf("jump %d, to %+v: %w", i+1, off, err)
		}
		slowest = max(slowest, took)
	}
	n, err := s.finish(load)
	if err != nil {
		return "", err
	}
	if err := s.once(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d jumps of %v, %d events, 0 lost, 0 repeats; all that was accepted before a jump arrived within %v of it",
		rounds, clockStep, n, slowest.Round(time.Millisecond)), nil
}

// step sets the service's clock off by so much and waits until all that was
// accepted before has arrived.
func (s *site) step(load *load, c *rig.Clock, off time.Duration) (time.Duration, error) {
	upto := int(load.accepted.Load())
	if err := c.Set(off); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := s.tells(begin.Add(off)); err != nil {
		return 0, err
	}
	// Which of those fed at the same time were accepted is not known, so that
	// a few more are waited for.
	upto += 8 * killBatch
	var counts rig.Counts
	var err error
	late := rig.Await(clockAfter, "what was accepted before to arrive", func() bool {
		time.Sleep(20 * time.Millisecond)
		counts, err = s.sink.Counts(upto)
		return err != nil || len(counts.Missing) == 0
	})
	if late != nil {
		late = fmt.Errorf("%w: missing are %v", late, counts.Missing)
	}
	return time.Since(begin), errors.Join(err, late)
}

// tells asks the service for the time, by the header of an answer.
func (s *site) tells(want time.Time) error {
	resp, err := http.Get(s.service.Ops + "/livez")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := http.ParseTime(resp.Header.Get("Date"))
	if err == nil && got.Sub(want).Abs() > 5*time.Second {
		err = fmt.Errorf("the service takes it for %v, want %v", got, want)
	}
	return err
}
