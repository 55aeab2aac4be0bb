package main

import (
	"errors"
	"sync"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// nodesMany is how many nodes are several.
const nodesMany = 4

// pacedFigures are of nodes that are fed at a fixed rate.
type pacedFigures struct{ share, rate, database, commits figures }

func (f *pacedFigures) show(l *lab, what, aim string) {
	l.row(what+": delivered when the time was over, of all", f.share.show("%.3f"), "≥ 0.98")
	l.row("delivered/s", f.rate.show("%.0f"), "")
	l.row("the database's CPU, µs/event", f.database.show("%.1f"), aim)
	l.row("commits/event", f.commits.show("%.4f"), "")
}

// manyNodesRound compares several nodes at a fixed rate with one node that is fed what
// they are fed together.
func (l *lab) manyNodesRound(f *nodesFigures) error {
	for _, p := range []struct {
		nodes   int
		figures *pacedFigures
	}{{1, &f.one}, {nodesMany, &f.many}} {
		if err := l.withNodes(p.nodes, func(r *run) error { return r.atRate(l.allNodes(), p.figures) }); err != nil {
			return err
		}
	}
	last := len(f.many.database) - 1
	f.times = append(f.times, f.many.database[last]/f.one.database[last])
	return nil
}

// allNodes is the rate of several nodes together.
func (l *lab) allNodes() float64 { return nodesMany * l.NodeRate }

// atRate feeds all nodes together so many events a second.
func (r *run) atRate(perSecond float64, f *pacedFigures) error {
	if err := r.register(nodesAccounts, r.endpoint); err != nil {
		return err
	}
	feed := r.nodesFeed(perSecond)
	warm := feed
	warm.Events = (feed.Events + 4) / 5
	if _, err := r.deliverAll(warm); err != nil {
		return err
	}
	before, err := r.snapshot()
	if err != nil {
		return err
	}
	arrived, err := r.deliverAll(feed)
	if err != nil {
		return err
	}
	after, err := r.snapshot()
	n := float64(feed.Events * len(r.nodes()))
	f.share, f.rate = append(f.share, float64(arrived)/n), append(f.rate, float64(arrived)/halfLoadTime.Seconds())
	f.database, f.commits = append(f.database, micros(after.database-before.database)/n), append(f.commits, (after.commits-before.commits)/n)
	return err
}

// nodesFeed is a node's part of so many events a second, for as long as a half load takes.
func (r *run) nodesFeed(perSecond float64) rig.Feed {
	f := rig.Feed{Batch: nodesBatch, Clients: nodesClients, Accounts: nodesAccounts, PerSecond: perSecond / float64(len(r.nodes()))}
	f.Events = int(halfLoadTime.Seconds() * f.PerSecond)
	return f
}

// deliverAll feeds all nodes, and returns when everything has arrived and is recorded.
// arrived is how much had when the time was over that the feed takes at its pace.
func (r *run) deliverAll(f rig.Feed) (arrived int, err error) {
	if err := r.sink.Clear(); err != nil {
		return 0, err
	}
	fed := make(chan error, 1)
	go func() { fed <- r.feedAll(f) }()
	time.Sleep(time.Duration(float64(f.Events) / f.PerSecond * float64(time.Second)))
	c, err := r.sink.Counts(0)
	if err := errors.Join(err, <-fed); err != nil {
		return 0, err
	}
	if _, err := r.sink.AwaitUnique(f.Events*len(r.nodes()), 2*time.Minute); err != nil {
		return 0, err
	}
	return c.Unique, r.recorded()
}

// feedAll hands f's events in at each node at its pace, under numbers of their own. The
// nodes' batches come in turn, as those of one node would.
func (r *run) feedAll(f rig.Feed) error {
	from := r.fed
	r.fed += f.Events * len(r.nodes())
	return r.atEachNode(float64(f.Batch)/f.PerSecond, func(i int, s *rig.Service) error {
		f := f
		f.From = from + i*f.Events
		return f.Run(s)
	})
}

// atEachNode does something at all nodes at once. They begin one after the other within a
// gap, in seconds.
func (r *run) atEachNode(gap float64, do func(i int, s *rig.Service) error) error {
	nodes := r.nodes()
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, s := range nodes {
		all.Go(func() {
			time.Sleep(time.Duration(gap * float64(time.Second) * float64(i) / float64(len(nodes))))
			errs[i] = do(i, s)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
