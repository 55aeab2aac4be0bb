package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/sqlite"
	"github.com/recapito/recapito/verify/rig"
)

const (
	replayAccounts = 10 // the first of which has the failed deliveries
	replayRate     = 1000
	replayTime     = 20 * time.Second
)

// replay: what a bulk replay costs the new events of its account and of others.
func replay(l *lab) error {
	var without, with, ratio, rate figures
	for range l.Rounds {
		if err := l.replayRound(&without, &with, &ratio, &rate); err != nil {
			return err
		}
	}
	l.table(fmt.Sprintf("A bulk replay of %d failed deliveries of one of %d accounts, beside %d new events/s of all", l.Replay, replayAccounts, replayRate),
		"new events' p99 ms without", "with", "ratio", "aim", "sent again/s")
	l.row(without.show("%.1f"), with.show("%.1f"), ratio.show("%.2f"), "≤ 1.2", rate.show("%.0f"))
	return nil
}

func (l *lab) replayRound(without, with, ratio, rate *figures) (err error) {
	r, err := l.prepare()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	if err := r.seed(func(ctx context.Context, st *sqlite.Store) error {
		if err := seedAccounts(ctx, st, replayAccounts, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
			return err
		}
		now := time.Now()
		return seedHistory(ctx, st, 0, l.Replay, 1, now.Add(-time.Hour), now.Add(-time.Minute), store.Outcome{State: store.Failed, Failures: 1,
			Attempt: &store.Attempt{Number: 1, Duration: 20 * time.Millisecond, StatusCode: 500, Error: store.HTTPStatus}})
	}); err != nil {
		return err
	}
	if err := r.serve(); err != nil {
		return err
	}
	feed := rig.Feed{Events: int(replayRate * replayTime.Seconds()), Batch: 10, Clients: 8, Accounts: replayAccounts, PerSecond: replayRate, Seed: 1}
	var p99 [2]float64
	for range 2 { // the first one warms
		if p99[0], err = r.newEvents(feed); err != nil {
			return err
		}
	}
	begin := time.Now()
	path, err := r.startReplay()
	if err != nil {
		return err
	}
	if p99[1], err = r.newEvents(feed); err != nil {
		return err
	}
	if err := r.awaitReplay(path, int64(l.Replay)); err != nil {
		return err
	}
	*without, *with, *ratio = append(*without, p99[0]), append(*with, p99[1]), append(*ratio, p99[1]/p99[0])
	*rate = append(*rate, float64(l.Replay)/time.Since(begin).Seconds())
	return nil
}

// newEvents is the p99 of a feed, in ms.
func (r *run) newEvents(f rig.Feed) (float64, error) {
	if err := r.sink.Clear(); err != nil {
		return 0, err
	}
	if err := r.feed(f); err != nil {
		return 0, err
	}
	c, err := r.sink.AwaitUnique(f.Events, 2*time.Minute)
	return millis(c.P99), err
}

const replaysPath = "/webhooks/delivery-status/replays"

func (r *run) startReplay() (path string, err error) {
	code, answer, err := r.service.Call(http.MethodPost, replaysPath, seedKey(0), []byte(`{}`))
	var made struct{ ID string }
	if err == nil {
		err = json.Unmarshal(answer, &made)
	}
	if err != nil || code != http.StatusAccepted {
		return "", fmt.Errorf("POST the replay: %d %s: %w", code, answer, err)
	}
	return replaysPath + "/" + made.ID, nil
}

// awaitReplay waits for the end of the replay, which must have sent all again.
func (r *run) awaitReplay(path string, all int64) error {
	var answer []byte
	var seen struct {
		State     string
		SentAgain int64
	}
	err := rig.Await(time.Hour, "the bulk replay to end", func() bool {
		code, got, err := r.service.Call(http.MethodGet, path, seedKey(0), nil)
		answer = got
		return err == nil && code == http.StatusOK && json.Unmarshal(got, &seen) == nil && seen.State == string(store.ReplayDone)
	})
	if err == nil && seen.SentAgain != all {
		err = fmt.Errorf("%d of %d were sent again: %s", seen.SentAgain, all, answer)
	}
	return err
}
