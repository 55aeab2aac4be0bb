package store

import "time"

// Pace is what an engine knows of an endpoint beyond the rows.
type Pace struct {
	Health                    // its state, and since when
	Concurrency int           // so many attempts at a time at most
	NextAttempt time.Time     // when the next is to begin; zero: it is about to, or nobody knows
	Horizon     time.Duration // the age at which a delivery is given up; zero: nobody gives up
}

// Pace is what the rows tell: nobody attempts. next is the earliest DueAt to come.
func (w *Webhook) Pace(next time.Time) Pace {
	p := Pace{Health: w.Health, Concurrency: 1, NextAttempt: next}
	if p.State == HealthProbing || p.State == HealthSuspended {
		p.NextAttempt = time.Time{}
	}
	return p
}
