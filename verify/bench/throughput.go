package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// load is a way of feeding at full speed.
type load struct {
	name           string
	endpoints      int
	batch, clients int
	events         int    // of the default number, one in …
	aim            string // of the raw loop's rate
}

// rawInFlight is the raw loop's number of requests at a time.
const rawInFlight = 64

// throughput: how much is delivered at the greatest speed.
func throughput(l *lab) error {
	l.table("Throughput", "load", "delivered/s", "raw net/http/s", "ratio", "aim",
		"server CPU µs/event", "raw client CPU µs", "ratio", "aim", "sink and feeder CPU µs", "commits/event", "peak RSS MiB")
	many, err := l.throughputRow(load{"100 endpoints, batches of 100, 8 clients", 100, 100, 8, 1, "≥ 1.0"})
	if err != nil {
		return err
	}
	if _, err := l.throughputRow(load{"100 endpoints, one event at a time, 64 clients", 100, 1, 64, 4, "≥ 0.5"}); err != nil {
		return err
	}
	const ofMany = 0.8
	_, err = l.throughputRow(load{"one endpoint, batches of 100, 8 clients", 1, 100, 8, 1, fmt.Sprintf("≥ %.2f, %.1f of the first", ofMany*many, ofMany)})
	return err
}

// throughputRow returns the rate as a part of the raw loop's.
func (l *lab) throughputRow(w load) (float64, error) {
	var rate, raw, ratio, cpu, rawCPU, cpuRatio, sinkCPU, feederCPU, commits, rss figures
	for range l.Rounds {
		m, err := l.throughputRound(w)
		if err != nil {
			return 0, err
		}
		rate, raw, ratio = append(rate, m.rate), append(raw, m.raw.PerSecond), append(ratio, m.rate/m.raw.PerSecond)
		cpu, rawCPU = append(cpu, m.cpu), append(rawCPU, micros(m.raw.CPU))
		cpuRatio = append(cpuRatio, m.cpu/micros(m.raw.CPU))
		sinkCPU, feederCPU = append(sinkCPU, m.sinkCPU), append(feederCPU, m.feederCPU)
		commits, rss = append(commits, m.commits), append(rss, m.rss)
	}
	l.row(w.name, rate.show("%.0f"), raw.show("%.0f"), ratio.show("%.2f"), w.aim,
		cpu.show("%.0f"), rawCPU.show("%.0f"), cpuRatio.show("%.2f"), "≤ 1.0", fmt.Sprintf("%.0f and %.0f", sinkCPU.median(), feederCPU.median()), commits.show("%.3f"), rss.show("%.0f"))
	return ratio.median(), nil
}

type throughputFigures struct {
	rate, cpu, sinkCPU, feederCPU, commits, rss float64
	database                                    float64 // CPU of PostgreSQL, if that is the store
	raw                                         rig.RawResult
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func (l *lab) throughputRound(w load) (m throughputFigures, err error) {
	r, err := l.begin()
	if err != nil {
		return m, err
	}
	defer func() { err = r.end(err) }()
	return r.throughput(w)
}

// throughput is that of a run without accounts so far, and of the raw loop.
func (r *run) throughput(w load) (m throughputFigures, err error) {
	endpoint := func(i int) string { return r.sink.Endpoint(rig.OK, i) }
	if err := r.register(w.endpoints, endpoint); err != nil {
		return m, err
	}
	if m, err = r.atFullSpeed(rig.Feed{Events: r.lab.Events / w.events, Batch: w.batch, Clients: w.clients, Accounts: w.endpoints}); err != nil {
		return m, err
	}
	urls := make([]string, w.endpoints)
	for i := range urls {
		urls[i] = endpoint(i)
	}
	m.raw, err = rig.Raw{URLs: urls, CA: r.sink.CA, Method: http.MethodPost, Header: rig.CallbackHeader, Body: rig.CallbackBody,
		Requests: r.lab.Events, InFlight: rawInFlight, WantStatus: http.StatusNoContent}.Run()
	return m, err
}

// atFullSpeed feeds as fast as it goes and says what that took until everything
// was on disk. A third as many events go before, for connections and caches.
func (r *run) atFullSpeed(feed rig.Feed) (m throughputFigures, err error) {
	warm := feed
	warm.Events /= 3
	if err := r.deliver(warm); err != nil {
		return m, err
	}
	if err := r.recorded(); err != nil {
		return m, err
	}
	before, err := r.snapshot()
	if err != nil {
		return m, err
	}
	begin := time.Now()
	if err := r.deliver(feed); err != nil {
		return m, err
	}
	if err := r.recorded(); err != nil {
		return m, err
	}
	elapsed := time.Since(begin)
	after, err := r.snapshot()
	if err != nil {
		return m, err
	}
	n := float64(feed.Events)
	m.rate = n / elapsed.Seconds()
	m.cpu = micros(after.server.CPU-before.server.CPU) / n
	m.sinkCPU = micros(after.sink.CPU-before.sink.CPU) / n
	m.feederCPU = micros(after.feeder.CPU-before.feeder.CPU) / n
	m.commits = (after.commits - before.commits) / n
	m.database = micros(after.database-before.database) / n
	m.rss = float64(after.server.PeakRSS) / 1024
	return m, nil
}

// deliver feeds and waits until everything has arrived.
func (r *run) deliver(f rig.Feed) error {
	if err := r.sink.Clear(); err != nil {
		return err
	}
	if err := r.feed(f); err != nil {
		return err
	}
	c, err := r.sink.AwaitUnique(f.Events, 2*time.Minute)
	if err == nil && c.Arrivals != c.Unique {
		err = fmt.Errorf("%d callbacks for %d events", c.Arrivals, c.Unique)
	}
	return err
}

// snapshot is what has been used so far; server and commits are of all nodes.
type snapshot struct {
	server, sink, feeder rig.Usage
	database             time.Duration
	commits              float64
}

// recorded waits until the outcomes of what has arrived are on disk.
func (r *run) recorded() error {
	return rig.Await(time.Minute, "the outcomes to be recorded", func() bool {
		for _, s := range r.nodes() {
			if n, err := s.Metric("recapito_unrecorded_outcomes"); err != nil || n > 0 {
				return false
			}
		}
		return true
	})
}

func (r *run) snapshot() (s snapshot, err error) {
	for _, node := range r.nodes() {
		u, err := rig.Measure(node.PID())
		if err != nil {
			return s, err
		}
		n, err := node.Metric("recapito_commit_duration_seconds_count")
		if err != nil {
			return s, err
		}
		s.server.CPU, s.server.PeakRSS, s.commits = s.server.CPU+u.CPU, max(s.server.PeakRSS, u.PeakRSS), s.commits+n
	}
	if r.server != nil {
		if s.database, err = rig.FamilyCPU(r.server.PID()); err != nil {
			return s, err
		}
	}
	if s.sink, err = rig.Measure(r.sink.PID()); err != nil {
		return s, err
	}
	s.feeder, err = rig.Measure(os.Getpid())
	return s, err
}
