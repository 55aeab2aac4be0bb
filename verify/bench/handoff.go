package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const (
	putRate    = 20 // a second, at all nodes together
	putClients = 8  // of each node
)

// handoff: how long an event takes that another node accepts than the one that attempts,
// and a PUT, of which every node must know before it is answered.
func handoff(l *lab) error {
	var rate figures
	loads := []halfLoad{{batch: 100}, {batch: 10}}
	var idle, busy putFigures
	for range l.Rounds {
		if err := l.withNodes(2, func(r *run) error { return r.handOff(&rate, loads) }); err != nil {
			return err
		}
		if err := l.withNodes(nodesMany, func(r *run) error { return r.putRound(&idle, &busy) }); err != nil {
			return err
		}
	}
	l.table("Between nodes on one PostgreSQL on the same processors", "what", "figure", "aim")
	for _, h := range loads {
		l.row(fmt.Sprintf("accepted by one of two, delivered by the other, half of the greatest rate: %.0f/s, batches of %d: p50 ms", rate.median(), h.batch), h.p50.show("%.1f"), "≤ 8")
		l.row("p99 ms", h.p99.show("%.1f"), "≤ 30")
	}
	idle.show(l, fmt.Sprintf("PUT at %d nodes, %d a second together", nodesMany, putRate))
	busy.show(l, fmt.Sprintf("the same beside %.0f events/s at each", l.NodeRate))
	return nil
}

// handOff feeds the first of two nodes with events of the other's accounts.
func (r *run) handOff(rate *figures, loads []halfLoad) error {
	const accounts = 2 * nodesAccounts
	if err := r.register(accounts, r.endpoint); err != nil {
		return err
	}
	its, err := r.accountsOf(1, accountNames(0, accounts))
	if err != nil {
		return err
	}
	return r.atHalfLoad(rig.Feed{Events: r.lab.Events / 2, Batch: nodesBatch, Clients: nodesClients, Accounts: len(its),
		Account: func(i int) string { return its[i] }}, rate, loads)
}

// putFigures are of PUTs; failed are those that got no 200, of a hundred.
type putFigures struct{ p50, p99, failed figures }

func (f *putFigures) show(l *lab, what string) {
	l.row(what+": p50 ms", f.p50.show("%.1f"), "≤ 15")
	l.row("p99 ms", f.p99.show("%.1f"), "≤ 50")
	l.row("not answered with 200, %", f.failed.show("%.1f"), "0")
}

// putRound puts webhooks while the nodes have nothing else to do, and while they are fed.
func (r *run) putRound(idle, busy *putFigures) error {
	if err := r.register(nodesAccounts, r.endpoint); err != nil {
		return err
	}
	n := max(len(r.nodes()), r.lab.Events/200)
	if err := r.puts(n, &putFigures{}); err != nil { // connections, caches
		return err
	}
	if err := r.puts(n, idle); err != nil {
		return err
	}
	stop, fed := make(chan struct{}), make(chan error, 1)
	feed := r.nodesFeed(r.lab.allNodes())
	feed.Stop = stop
	feed.Events = int(feed.PerSecond * 20 * float64(n) / putRate) // it is stopped before
	go func() { fed <- r.feedAll(feed) }()
	err := r.puts(n, &putFigures{})
	if err == nil {
		err = r.puts(n, busy)
	}
	close(stop)
	return errors.Join(err, <-fed)
}

// puts makes n PUTs, as many at each node, and notes how long they took.
func (r *run) puts(n int, f *putFigures) error {
	nodes := len(r.nodes())
	took := make([][]time.Duration, nodes)
	perSecond := float64(putRate) / float64(nodes)
	var failed atomic.Int64
	err := r.atEachNode(1/perSecond, func(i int, s *rig.Service) error {
		res, err := rig.Load{URL: s.URL, Clients: putClients, Requests: n / nodes, PerSecond: perSecond, Want: http.StatusOK,
			Failed: func(err error) {
				failed.Add(1)
				r.lab.detail("%v", err)
			},
			Make: func(k int) (string, string, string, []byte) {
				account := (k*nodes + i) * 7919 % len(r.keys)
				return http.MethodPut, webhookPath, "X-API-Key: " + r.keys[account], fmt.Appendf(nil, `{"callbackUrl":%q}`, r.endpoint(account))
			}}.Run()
		took[i] = res.Took
		return err
	})
	if err != nil {
		return err
	}
	all := slices.Concat(took...)
	p50, p99, _ := rig.Quantiles(all)
	f.p50, f.p99 = append(f.p50, millis(p50)), append(f.p99, millis(p99))
	f.failed = append(f.failed, 100*float64(failed.Load())/float64(len(all)))
	return nil
}

const webhookPath = "/webhooks/delivery-status"
