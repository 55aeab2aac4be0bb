package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/recapito/recapito/store/sqlite"
	"github.com/recapito/recapito/verify/rig"
)

const (
	lukewarmGap  = 2 * time.Second // between two calls of one endpoint
	lukewarmTime = time.Minute     // --callback-connection-life: no connection lasts longer
	// coldEndpoints are called once in lukewarmTime, so that their connections
	// expire unused, 33 a second, while others are in use.
	coldEndpoints = 2000
	// busyEvents are of one message, for an endpoint that answers after half a
	// second: its only connection is in use all the time.
	busyEvents = 110
)

// lukewarm: the connections of thousands of endpoints that are called every few
// seconds, and of a busy one beside them. The receivers count them. The three
// kinds of endpoints are in three processes.
func lukewarm(l *lab) error {
	var f lukewarmFigures
	for range l.Rounds {
		if err := l.lukewarmRound(&f); err != nil {
			return err
		}
	}
	l.table(fmt.Sprintf("Connections: %d endpoints called every %v, %d called once a minute, one busy", l.Lukewarm, lukewarmGap, coldEndpoints), "what", "figure", "aim")
	l.row("requests on a reused connection, of those every few seconds", f.reused.show("%.3f"), "≥ 0.95")
	l.row("the most that the connections' life allows at this pace", f.most.show("%.3f"), "")
	l.row("requests on a reused connection, of those to the busy one", f.busy.show("%.3f"), "≥ 0.95")
	l.row(fmt.Sprintf("its connections for %d requests", busyEvents), f.busyConnections.show("%.0f"), "")
	l.row("events/s", f.rate.show("%.0f"), "")
	l.row("dials/s", f.dials.show("%.0f"), "")
	l.row("of them TLS sessions resumed", f.resumed.show("%.3f"), "")
	l.row("server CPU µs/event", f.cpu.show("%.0f"), "")
	l.row("connections idle at the end", f.idle.show("%.0f"), "")
	l.row("peak RSS, MiB", f.rss.show("%.0f"), "")
	return nil
}

type lukewarmFigures struct {
	reused, most, busy, busyConnections, rate, dials, resumed, cpu, idle, rss figures
}

func (l *lab) lukewarmRound(f *lukewarmFigures) (err error) {
	r, err := l.prepare()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	cold, err := r.anotherSink()
	if err != nil {
		return err
	}
	defer cold.Kill()
	busy, err := r.anotherSink()
	if err != nil {
		return err
	}
	defer busy.Kill()
	last := l.Lukewarm + coldEndpoints
	if err := r.seed(func(ctx context.Context, st *sqlite.Store) error {
		return seedAccounts(ctx, st, last+1, func(i int) string {
			switch {
			case i < l.Lukewarm:
				return r.sink.Endpoint(rig.OK, i)
			case i < last:
				return cold.Endpoint(rig.OK, i)
			}
			return busy.Endpoint(rig.Slow, i)
		})
	}); err != nil {
		return err
	}
	if err := errors.Join(r.sink.Issue(0, l.Lukewarm), cold.Issue(l.Lukewarm, coldEndpoints), busy.Issue(last, 1), r.serve()); err != nil {
		return err
	}
	stop, ended := make(chan struct{}), make(chan error)
	go func() {
		ended <- rig.Feed{Events: math.MaxInt32, Batch: 1, Clients: 8, PerSecond: coldEndpoints / lukewarmTime.Seconds(), Stop: stop,
			Accounts: coldEndpoints, Account: func(i int) string { return rig.Account(l.Lukewarm + i) }}.Run(r.service)
	}()
	err = r.connect()
	if err == nil {
		err = r.lukewarm(busy, f)
	}
	close(stop)
	return errors.Join(err, <-ended)
}

// connect calls more and more endpoints for as long as a connection lives, so
// that from then on as many connections end in each second. It returns when all
// calls have arrived.
func (r *run) connect() error {
	const steps = int(lukewarmTime / lukewarmGap)
	begin := time.Now()
	for step := 1; step <= steps; step++ {
		if err := r.feed(r.everyGap(r.lab.Lukewarm * step / steps)); err != nil {
			return err
		}
		time.Sleep(time.Until(begin.Add(time.Duration(step) * lukewarmGap)))
	}
	_, err := r.sink.AwaitUnique(r.fed, time.Minute)
	return err
}

// everyGap is an event for each of so many endpoints, spread over the gap.
func (*run) everyGap(endpoints int) rig.Feed {
	return rig.Feed{Events: endpoints, Batch: 50, Clients: 8, Accounts: endpoints, PerSecond: float64(endpoints) / lukewarmGap.Seconds()}
}

// lukewarm measures for as long as a connection lives.
func (r *run) lukewarm(busy *rig.Sink, f *lukewarmFigures) error {
	if err := r.sink.Clear(); err != nil {
		return err
	}
	before, usage, err := r.connections()
	if err != nil {
		return err
	}
	many := r.everyGap(r.lab.Lukewarm)
	many.Events *= int(lukewarmTime / lukewarmGap)
	one := rig.Feed{Events: busyEvents, Batch: busyEvents, Clients: 1, PerMessage: busyEvents,
		Accounts: 1, Account: func(int) string { return rig.Account(r.lab.Lukewarm + coldEndpoints) }}
	begin := time.Now()
	if err := errors.Join(r.feed(one), r.feed(many)); err != nil {
		return err
	}
	warm, err := r.sink.AwaitUnique(many.Events, time.Minute)
	if err != nil {
		return err
	}
	elapsed := time.Since(begin)
	after, usageAfter, err := r.connections()
	if err != nil {
		return err
	}
	hot, err := busy.AwaitUnique(one.Events, time.Minute)
	if err != nil {
		return err
	}
	seconds, dials := elapsed.Seconds(), after.dials-before.dials
	events := float64(many.Events+one.Events) + coldEndpoints*seconds/lukewarmTime.Seconds()
	f.reused, f.busy = append(f.reused, reused(warm)), append(f.busy, reused(hot))
	f.busyConnections = append(f.busyConnections, float64(hot.Connections))
	f.most = append(f.most, mostReused(elapsed*time.Duration(r.lab.Lukewarm)/time.Duration(many.Events)))
	f.rate, f.dials, f.resumed = append(f.rate, events/seconds), append(f.dials, dials/seconds), append(f.resumed, (after.resumed-before.resumed)/dials)
	f.cpu = append(f.cpu, micros(usageAfter.CPU-usage.CPU)/events)
	f.idle, f.rss = append(f.idle, after.idle), append(f.rss, float64(usageAfter.PeakRSS)/1024)
	return nil
}

// reused is the share of requests that did not need a connection of their own.
func reused(c rig.Counts) float64 { return 1 - float64(c.Connections)/float64(c.Arrivals) }

// mostReused is the greatest share for an endpoint that is called after each
// gap, if the receiver never closes. A connection lives as long as
// --callback-connection-life by default, less 0 to 25 % by chance.
func mostReused(gap time.Duration) float64 {
	const meanLife = lukewarmTime * 7 / 8
	requests := meanLife.Seconds()/gap.Seconds() + 0.5 // the first is at its age of 0
	return 1 - 1/requests
}

// connections are the service's figures about those to endpoints.
type connections struct{ dials, resumed, idle float64 }

func (r *run) connections() (connections, rig.Usage, error) {
	m, err := r.service.Metrics()
	if err != nil {
		return connections{}, rig.Usage{}, err
	}
	u, err := rig.Measure(r.service.PID())
	return connections{m["recapito_dials_total"], m["recapito_dials_resumed_total"], m["recapito_connections_idle"]}, u, err
}
