package main

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const recoveryBacklog = 100_000

// recovery: an endpoint that was down returns, and takes 32 requests at a time.
func recovery(l *lab) error {
	var first, full, rate, most, refused figures
	for range l.Rounds {
		if err := l.recoveryRound(&first, &full, &rate, &most, &refused); err != nil {
			return err
		}
	}
	l.table(fmt.Sprintf("Recovery: an endpoint returns to %d waiting events; it answers after 2 ms, 32 at a time, else 429", recoveryBacklog),
		"first callback after s", "aim", "from there to 90 % of the rate before, s", "aim", "rate before/s", "at most then", "429 and 503 of all answers, %", "aim")
	l.row(first.show("%.1f"), "≤ one probe gap", full.show("%.1f"), "≤ 10", rate.show("%.0f"), most.show("%.0f"), refused.show("%.2f"), "≤ 1")
	return nil
}

func (l *lab) recoveryRound(first, full, rate, most, refused *figures) (err error) {
	r, err := l.begin()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	if err := r.register(1, func(i int) string { return r.sink.Endpoint(rig.Gate, i) }); err != nil {
		return err
	}
	feed := rig.Feed{Events: recoveryBacklog, Batch: 500, Clients: 4, Accounts: 1}
	if err := r.sink.OpenGate(true); err != nil {
		return err
	}
	begin := time.Now()
	if err := r.deliver(feed); err != nil {
		return err
	}
	before := float64(feed.Events) / time.Since(begin).Seconds()
	if err := r.sink.OpenGate(false); err != nil {
		return err
	}
	if err := r.feed(feed); err != nil {
		return err
	}
	if err := rig.Await(time.Minute, "the breaker to open", func() bool {
		open, err := r.service.Metric(`recapito_lanes{health="open"}`)
		return err == nil && open == 1
	}); err != nil {
		return err
	}
	if err := r.sink.Clear(); err != nil {
		return err
	}
	opened := time.Now()
	if err := r.sink.OpenGate(true); err != nil {
		return err
	}
	c, err := r.sink.AwaitUnique(recoveryBacklog, 10*time.Minute)
	if err != nil {
		return err
	}
	r.lab.detail("arrivals per 100 ms: %v", c.Timeline)
	if err := r.lab.drawRecovery(c.Timeline); err != nil {
		return err
	}
	began := slices.IndexFunc(c.Timeline, func(n int) bool { return n > 0 })
	seconds := smooth(c.Timeline[began:])
	reached := slices.IndexFunc(seconds, func(n float64) bool { return n >= 0.9*before })
	if reached < 0 {
		return fmt.Errorf("it never took 90 %% of the %.0f/s that it took before", before)
	}
	*first = append(*first, c.First.Sub(opened).Seconds())
	*full = append(*full, float64(reached)*rig.Tick.Seconds())
	*rate, *most = append(*rate, before), append(*most, slices.Max(seconds))
	*refused = append(*refused, 100*float64(c.Refused)/float64(c.Refused+c.Arrivals))
	return nil
}

// drawRecovery draws the arrivals from when the endpoint is back.
func (l *lab) drawRecovery(timeline []int) error {
	if l.Picture == "" {
		return nil
	}
	arrivals := &rig.Curve{Name: "callbacks/s, over a second"}
	for i, n := range smooth(timeline) {
		arrivals.Add(time.Duration(i)*rig.Tick, n)
	}
	title := fmt.Sprintf("An endpoint returns to %d waiting events", recoveryBacklog)
	return os.WriteFile(l.Picture, rig.Draw(title, arrivals), 0o644)
}

// smooth is what each second that begins with a tick has.
func smooth(timeline []int) []float64 {
	window := int(time.Second / rig.Tick)
	seconds := make([]float64, 0, len(timeline))
	for i := 0; i+window <= len(timeline); i++ {
		sum := 0
		for _, n := range timeline[i : i+window] {
			sum += n
		}
		seconds = append(seconds, float64(sum))
	}
	return seconds
}
