package main

import (
	"context"
	"fmt"

	"github.com/recapito/recapito/store/sqlite"
	"github.com/recapito/recapito/verify/rig"
)

const (
	nodesAccounts = 100 // with an endpoint each
	nodesBatch    = 100
	nodesClients  = 8 // of each node
)

// nodes: what one node and several deliver with PostgreSQL on the same processors, and
// what that costs the database.
func nodes(l *lab) error {
	var f nodesFigures
	for range l.Rounds {
		for _, round := range []func(*nodesFigures) error{l.oneNodeRound, l.manyNodesRound, l.fenceRound} {
			if err := round(&f); err != nil {
				return err
			}
		}
	}
	l.table(fmt.Sprintf("Nodes on one PostgreSQL on the same processors: %d endpoints, batches of %d, %d clients a node", nodesAccounts, nodesBatch, nodesClients), "what", "figure", "aim")
	f.show(l)
	return nil
}

type nodesFigures struct {
	rate, raw, ratio, file, ofFile, server, database, queue, ofQueue, commits figures
	stored, logged                                                            figures
	single, ofSingle, spread, ofSpread                                        figures
	one, many                                                                 pacedFigures
	times, fence                                                              figures
}

func (f *nodesFigures) show(l *lab) {
	l.row("one node, delivered/s", f.rate.show("%.0f"), "")
	l.row("raw net/http/s", f.raw.show("%.0f"), "")
	l.row("ratio", f.ratio.show("%.2f"), "≥ 0.4")
	l.row("the same on SQLite, delivered/s", f.file.show("%.0f"), "")
	l.row("PostgreSQL's ratio to it", f.ofFile.show("%.2f"), "")
	l.row("the node's CPU, µs/event", f.server.show("%.1f"), "")
	l.row("the database's CPU, µs/event", f.database.show("%.1f"), "≤ 35")
	l.row("that of the simplest queue, hundred by hundred, µs/row", f.queue.show("%.1f"), "")
	l.row("ratio", f.ofQueue.show("%.2f"), "≤ 2.2")
	l.row("stored by the database, B/event", f.stored.show("%.0f"), "")
	l.row("written to its log, B/event", f.logged.show("%.0f"), "")
	l.row("commits/event", f.commits.show("%.4f"), "≤ 0.01")
	l.row("one account, delivered/s", f.single.show("%.0f"), "")
	l.row(fmt.Sprintf("ratio to %d accounts", nodesAccounts), f.ofSingle.show("%.2f"), "≥ 0.9")
	l.row(fmt.Sprintf("%d accounts with one event each, delivered/s", l.Events), f.spread.show("%.0f"), "")
	l.row(fmt.Sprintf("ratio to %d accounts", nodesAccounts), f.ofSpread.show("%.2f"), "≥ 0.9")
	f.one.show(l, fmt.Sprintf("one node at %.0f events/s", l.allNodes()), "")
	f.many.show(l, fmt.Sprintf("%d nodes at %.0f events/s each", nodesMany, l.NodeRate), "≤ 45")
	l.row("ratio of the database's CPU to one node's", f.times.show("%.2f"), "≤ 1.3")
	l.row("the fence's part of the time of statements, one node, %", f.fence.show("%.1f"), "≤ 5")
}

// oneNodeRound compares one node with the raw loop and with SQLite, and with itself where
// all events are of one account, or each is of another.
func (l *lab) oneNodeRound(f *nodesFigures) error {
	w := load{endpoints: nodesAccounts, batch: nodesBatch, clients: nodesClients, events: 1}
	file, err := l.throughputRound(w)
	if err != nil {
		return err
	}
	var m, single throughputFigures
	var queue float64
	var took space
	err = l.withNodes(1, func(r *run) (err error) {
		before, err := r.space()
		if err != nil {
			return err
		}
		if m, err = r.throughput(w); err != nil {
			return err
		}
		if took, err = r.spaceOfEvent(before); err != nil {
			return err
		}
		queue, err = r.simplestQueue(l.Events)
		return err
	})
	if err != nil {
		return err
	}
	if err := l.withNodes(1, func(r *run) (err error) {
		single, err = r.ofAccounts(1)
		return err
	}); err != nil {
		return err
	}
	spread, err := l.spreadRound()
	f.rate, f.raw, f.ratio = append(f.rate, m.rate), append(f.raw, m.raw.PerSecond), append(f.ratio, m.rate/m.raw.PerSecond)
	f.file, f.ofFile = append(f.file, file.rate), append(f.ofFile, m.rate/file.rate)
	f.server, f.database, f.commits = append(f.server, m.cpu), append(f.database, m.database), append(f.commits, m.commits)
	f.stored, f.logged = append(f.stored, took.stored), append(f.logged, took.logged)
	f.queue, f.ofQueue = append(f.queue, queue), append(f.ofQueue, m.database/queue)
	f.single, f.ofSingle = append(f.single, single.rate), append(f.ofSingle, single.rate/m.rate)
	f.spread, f.ofSpread = append(f.spread, spread.rate), append(f.ofSpread, spread.rate/m.rate)
	return err
}

// ofAccounts is the throughput of new accounts with an endpoint each.
func (r *run) ofAccounts(n int) (m throughputFigures, err error) {
	if err := r.register(n, r.endpoint); err != nil {
		return m, err
	}
	return r.atFullSpeed(r.nodeFeed(n))
}

// nodeFeed is at full speed.
func (r *run) nodeFeed(accounts int) rig.Feed {
	return rig.Feed{Events: r.lab.Events, Batch: nodesBatch, Clients: nodesClients, Accounts: accounts}
}

// endpoint is that of an account, with others' where there are many: each connection
// costs a handshake.
func (r *run) endpoint(i int) string { return r.sink.Endpoint(rig.OK, i%nodesAccounts) }

// spreadRound is the throughput where no account has two events.
func (l *lab) spreadRound() (m throughputFigures, err error) {
	r, err := l.onPostgres()
	if err != nil {
		return m, err
	}
	defer func() { err = r.end(err) }()
	n := l.Events + l.Events/3 // see atFullSpeed
	if err := r.seedPostgres(func(ctx context.Context, st *sqlite.Store) error { return seedAccounts(ctx, st, n, r.endpoint) }); err != nil {
		return m, err
	}
	if err := r.serveNodes(1); err != nil {
		return m, err
	}
	return r.atFullSpeed(r.nodeFeed(n))
}
