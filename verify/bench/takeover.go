package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/recapito/recapito/store/sqlite"
	"github.com/recapito/recapito/verify/rig"
)

// shardAccounts is how many of the rig's accounts there must be until every shard has one.
const shardAccounts = 1829

// acceptedSingles are handed in one by one, as long as the killed node's accounts wait.
const (
	acceptedSingles = 300
	acceptedRate    = 50 // a second
)

// takeover: how soon the accounts of a node that is killed are served again, while many
// of their events wait.
func takeover(l *lab) error {
	var f takeoverFigures
	for range l.Rounds {
		if err := l.takeoverRound(&f); err != nil {
			return err
		}
	}
	l.table(fmt.Sprintf("One of %d nodes on one PostgreSQL is killed, in whose %d shards %d events wait", nodesMany, shards/nodesMany, l.Waiting), "what", "figure", "aim")
	l.row("from the kill until it is taken for dead, s", f.evicted.show("%.2f"), "")
	l.row("from there until a new event of each shard has arrived, s", f.served.show("%.2f"), "≤ 2")
	l.row("from the kill until then, s", f.killed.show("%.2f"), "≤ 7")
	l.row("a PUT at another node from the kill on, s", f.put.show("%.2f"), "≤ 6")
	l.row(fmt.Sprintf("%d single events a second at another node: p99 of their 202 before, ms", acceptedRate), f.before.show("%.1f"), "")
	l.row("from the kill on, ms", f.meanwhile.show("%.1f"), "≤ 1.2 × before")
	l.row("the nodes' greatest `recapito_marks_age_seconds` while the events came, s", f.marks.show("%.1f"), "≤ 8")
	l.row("accepted/s meanwhile", f.rate.show("%.0f"), "")
	return nil
}

type takeoverFigures struct{ evicted, served, killed, put, marks, rate, before, meanwhile figures }

func (l *lab) takeoverRound(f *takeoverFigures) (err error) {
	r, err := l.onPostgres()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	down, err := broken(r.sink, "refuse")
	if err != nil {
		return err
	}
	if err := r.seedPostgres(func(ctx context.Context, st *sqlite.Store) error {
		return seedAccounts(ctx, st, 2*shardAccounts, func(i int) string {
			if i < shardAccounts {
				return r.endpoint(i)
			}
			return down(i % nodesAccounts)
		})
	}); err != nil {
		return err
	}
	if err := errors.Join(r.sink.Issue(0, nodesAccounts), r.serveNodes(nodesMany)); err != nil {
		return err
	}
	const victim = nodesMany - 1 // its slot
	healthy, err := r.accountsOf(victim, accountNames(0, shardAccounts))
	if err != nil {
		return err
	}
	waiting, err := r.accountsOf(victim, accountNames(shardAccounts, shardAccounts))
	if err != nil {
		return err
	}
	others, err := r.accountsOf(0, accountNames(shardAccounts, shardAccounts))
	if err != nil {
		return err
	}
	if err := errors.Join(r.fill(waiting, victim, f), r.accept(others, 0, &f.before)); err != nil {
		return err
	}
	accepted := make(chan error, 1)
	go func() { accepted <- r.accept(others, acceptedSingles, &f.meanwhile) }()
	err = r.killLast(healthy, victim, f)
	return errors.Join(err, <-accepted)
}

// accept hands in events, one by one, at the node that was started first, and notes the
// p99 of their 202. The endpoints of the accounts are down.
func (r *run) accept(accounts []string, from int, p99 *figures) error {
	var took []time.Duration
	err := r.feed(rig.Feed{
		Events: acceptedSingles, From: 1<<30 + from, Batch: 1, Clients: 1, Accounts: len(accounts), PerSecond: acceptedRate,
		Account: func(i int) string { return accounts[i] }, Took: func(d time.Duration) { took = append(took, d) },
	})
	if err != nil {
		return err
	}
	_, late, _ := rig.Quantiles(took)
	*p99 = append(*p99, millis(late))
	return nil
}

// fill hands in what is to wait, and returns when all of it is where others will find it.
func (r *run) fill(accounts []string, slot int, f *takeoverFigures) error {
	stop, most := make(chan struct{}), make(chan float64, 1)
	go func() { most <- r.marksAge(stop) }()
	begin := time.Now()
	err := r.feed(rig.Feed{Events: r.lab.Waiting, Batch: 500, Clients: nodesClients, Accounts: len(accounts), Account: func(i int) string { return accounts[i] }})
	f.rate = append(f.rate, float64(r.lab.Waiting)/time.Since(begin).Seconds())
	close(stop)
	f.marks = append(f.marks, <-most)
	if err != nil {
		return err
	}
	return r.awaitRow(10*time.Minute, "all events to be in the table of what waits",
		`SELECT min(mark) >= (SELECT max(seq) FROM deliveries) FROM shards WHERE slot = $1`, slot)
}

// marksAge is the greatest of any node until it is stopped. A node that does not say it
// has none.
func (r *run) marksAge(stop <-chan struct{}) (most float64) {
	for {
		for _, s := range r.nodes() {
			if age, err := s.Metric("recapito_marks_age_seconds"); err == nil {
				most = max(most, age)
			}
		}
		select {
		case <-stop:
			return most
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// killLast kills the node that was started last, and hands in an event of each of its
// shards at another one.
func (r *run) killLast(accounts []string, slot int, f *takeoverFigures) error {
	if err := r.sink.Clear(); err != nil {
		return err
	}
	last := len(r.others) - 1
	killed := time.Now()
	r.others[last].Kill()
	r.others = r.others[:last]
	put := make(chan error, 1)
	go func() {
		code, answer, err := r.service.Call(http.MethodPut, webhookPath, seedKey(0), fmt.Appendf(nil, `{"callbackUrl":%q}`, r.endpoint(0)))
		f.put = append(f.put, time.Since(killed).Seconds())
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("PUT: %d %s", code, answer)
		}
		put <- err
	}()
	n := len(accounts)
	err := r.feed(rig.Feed{Events: n, Batch: n, Clients: 1, Accounts: n, Account: func(i int) string { return accounts[i] }})
	if err == nil {
		err = r.awaitRow(time.Minute, "the node to be taken for dead", `SELECT NOT alive FROM nodes WHERE slot = $1`, slot)
	}
	evicted := time.Now()
	if err == nil {
		_, err = r.sink.AwaitUnique(n, time.Minute)
	}
	served := time.Now()
	f.evicted, f.served, f.killed = append(f.evicted, evicted.Sub(killed).Seconds()), append(f.served, served.Sub(evicted).Seconds()), append(f.killed, served.Sub(killed).Seconds())
	return errors.Join(err, <-put)
}
