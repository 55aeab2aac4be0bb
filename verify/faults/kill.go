package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// retrySoon keeps what is refused from being the longest part of a scenario.
var retrySoon = []string{"--retry-schedule", "50ms,200ms,1s,1s,1s,1s,1s,1s,2s,5s"}

const (
	killAccounts = 50
	killRate     = 2000 // events/s
	killBatch    = 25
	// firstAfter is how soon after its start a process must deliver again.
	firstAfter = time.Second
	// unrecordedFor is how long before a kill an outcome may have come and not
	// have been recorded: two group commits on a slow disk.
	unrecordedFor = 2 * time.Second
)

// kill: kill -9 at random moments under load.
func kill(l *lab) (found string, err error) {
	s, err := l.site(rig.Options{Flags: retrySoon})
	if err != nil {
		return "", err
	}
	defer func() { err = s.end(err) }()
	if err := s.serve(); err != nil {
		return "", err
	}
	if err := s.register(killAccounts, func(i int) string { return s.sink.Endpoint(rig.Flaky, i) }); err != nil {
		return "", err
	}
	load := s.load(rig.Feed{Batch: killBatch, Clients: 8, Accounts: killAccounts, PerMessage: 3, PerSecond: killRate})
	rounds := l.rounds(1000, 15)
	kills, first := make([]span, rounds), make([]time.Duration, rounds)
	for i := range rounds {
		time.Sleep(20*time.Millisecond + rand.N(400*time.Millisecond)) // the random moment
		kills[i].begin = time.Now()
		s.service.Kill()
		if err := s.sink.Quiet(); err != nil {
			return "", err
		}
		kills[i].end = time.Now()
		if first[i], err = s.restart(); err != nil {
			return "", fmt.Errorf("after kill %d: %w", i+1, err)
		}
	}
	n, err := s.finish(load)
	if err != nil {
		return "", err
	}
	repeats, err := s.sink.Repeats()
	if err != nil {
		return "", err
	}
	oldest, err := l.explain(repeats, kills)
	p50, _, most := rig.Quantiles(first)
	found = fmt.Sprintf("%d kills, %d events, 0 lost; %.1f repeats a kill, of arrivals up to %v before it; first delivery after the start: p50 %v, max %v",
		rounds, n, float64(len(repeats))/float64(rounds), oldest.Round(time.Millisecond), p50.Round(time.Millisecond), most.Round(time.Millisecond))
	if err == nil && most > firstAfter {
		err = l.late("the first delivery came %v after the start, not within %v", most, firstAfter)
	}
	return found, err
}

// span is from a kill to when the sink had read all that was sent before.
type span struct{ begin, end time.Time }

// restart starts the service anew and says how long after that the first event
// arrived.
func (s *site) restart() (time.Duration, error) {
	begin := time.Now()
	var err error
	if s.service, err = rig.Launch(s.options); err != nil {
		return 0, err
	}
	if err := s.sink.Clear(); err != nil {
		return 0, err
	}
	c, err := s.sink.AwaitUnique(1, time.Minute)
	return c.First.Sub(begin), err
}

// explain fails if an event came again though no kill could have kept its
// outcome from being recorded. It says how long before a kill the earliest of
// the arrivals was that were repeated.
func (l *lab) explain(repeats []rig.Repeat, kills []span) (oldest time.Duration, err error) {
	for _, r := range repeats {
		age := time.Duration(-1)
		for _, k := range kills {
			if k.end.After(r.Before) && k.begin.Before(r.Then) {
				age = max(0, k.begin.Sub(r.Before))
				break
			}
		}
		if age < 0 {
			return 0, fmt.Errorf("event %d arrived at %v and again at %v, and no kill was between", r.Number, r.Before, r.Then)
		}
		oldest = max(oldest, age)
	}
	if oldest > unrecordedFor {
		return oldest, l.late("an event came again that had arrived %v before the kill: its outcome should have been recorded", oldest)
	}
	return oldest, nil
}
