package main

import (
	"fmt"

	"github.com/recapito/recapito/verify/rig"
)

const refusalAccounts = 100

// refusals: the rate of endpoints that refuse one request in fifty, while
// events of the same message wait for what was refused.
func refusals(l *lab) error {
	rows := []struct {
		name, endpoint string
		rate, commits  figures
	}{
		{name: "none", endpoint: rig.OK},
		{name: "one in fifty", endpoint: rig.Flaky},
	}
	for range l.Rounds {
		for i := range rows {
			if err := l.refusalRound(rows[i].endpoint, &rows[i].rate, &rows[i].commits); err != nil {
				return err
			}
		}
	}
	l.table(fmt.Sprintf("Refusals: %d endpoints, messages of three events, batches of 100, retries from 50 ms on", refusalAccounts),
		"refused", "delivered/s", "ratio to none", "commits/event")
	for _, r := range rows {
		l.row(r.name, r.rate.show("%.0f"), fmt.Sprintf("%.2f", r.rate.median()/rows[0].rate.median()), r.commits.show("%.3f"))
	}
	return nil
}

func (l *lab) refusalRound(endpoint string, rate, commits *figures) (err error) {
	r, err := l.prepare()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	if err := r.serve("--retry-schedule", "50ms,100ms,200ms,500ms,1s,1s,1s,1s"); err != nil {
		return err
	}
	if err := r.register(refusalAccounts, func(i int) string { return r.sink.Endpoint(endpoint, i) }); err != nil {
		return err
	}
	m, err := r.atFullSpeed(rig.Feed{Events: l.Events, Batch: 100, Clients: 8, Accounts: refusalAccounts, PerMessage: 3})
	*rate, *commits = append(*rate, m.rate), append(*commits, m.commits)
	return err
}
