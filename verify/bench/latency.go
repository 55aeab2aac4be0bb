package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// latency: how long an event takes from the platform's request to its arrival,
// under half of the greatest load and alone.
func latency(l *lab) error {
	var rate figures
	loads := []halfLoad{{batch: 100}, {batch: 10}}
	var alone, floor, times figures
	for range l.Rounds {
		if err := l.latencyRound(&rate, loads); err != nil {
			return err
		}
		if err := l.aloneRound(&alone, &floor, &times); err != nil {
			return err
		}
	}
	l.table("Latency, from sending POST /events to the arrival of the callback", "load", "p50 ms", "aim", "p99 ms", "aim")
	for _, h := range loads {
		l.row(fmt.Sprintf("half of the greatest rate: %.0f/s, batches of %d, 100 endpoints", rate.median(), h.batch), h.p50.show("%.1f"), "≤ 5", h.p99.show("%.1f"), "≤ 25")
	}
	l.table("Latency of a single event on an idle service", "p50 ms", "fsync + 2 raw round trips, ms", "ratio", "aim")
	l.row(alone.show("%.2f"), floor.show("%.2f"), times.show("%.1f"), "≤ 3")
	return nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// halfLoad is half of the greatest rate, handed in by so many at a time.
type halfLoad struct {
	batch    int
	p50, p99 figures
}

// halfLoadTime is how long each is measured.
const halfLoadTime = 10 * time.Second

func (l *lab) latencyRound(rate *figures, loads []halfLoad) (err error) {
	r, err := l.begin()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	if err := r.register(100, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
		return err
	}
	return r.atHalfLoad(rig.Feed{Events: l.Events / 2, Batch: 100, Clients: 8, Accounts: 100}, rate, loads)
}

// atHalfLoad finds the greatest rate of a feed and notes how long its events take at half
// of it.
func (r *run) atHalfLoad(feed rig.Feed, rate *figures, loads []halfLoad) error {
	if err := r.deliver(feed); err != nil { // connections, caches
		return err
	}
	begin := time.Now()
	if err := r.deliver(feed); err != nil {
		return err
	}
	feed.PerSecond = float64(feed.Events) / time.Since(begin).Seconds() / 2
	*rate = append(*rate, feed.PerSecond)
	feed.Events = int(halfLoadTime.Seconds()*feed.PerSecond) / 100 * 100
	for i := range loads {
		feed.Batch = loads[i].batch
		if err := r.deliver(feed); err != nil {
			return err
		}
		c, err := r.sink.Counts(0)
		if err != nil {
			return err
		}
		loads[i].p50, loads[i].p99 = append(loads[i].p50, millis(c.P50)), append(loads[i].p99, millis(c.P99))
	}
	return nil
}

// singles is how many events are sent one after the other.
const singles = 300

func (l *lab) aloneRound(alone, floor, times *figures) (err error) {
	r, err := l.begin()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	endpoint := r.sink.Endpoint(rig.OK, 0)
	if err := r.register(1, func(int) string { return endpoint }); err != nil {
		return err
	}
	feed := rig.Feed{Events: singles, Batch: 1, Clients: 1, Accounts: 1, PerSecond: 50}
	if err := r.deliver(feed); err != nil {
		return err
	}
	if err := r.deliver(feed); err != nil {
		return err
	}
	c, err := r.sink.Counts(0)
	if err != nil {
		return err
	}
	raw, err := rig.Raw{URLs: []string{endpoint}, CA: r.sink.CA, Method: http.MethodPost, Header: rig.CallbackHeader, Body: rig.CallbackBody,
		Requests: singles, InFlight: 1, PerSecond: 50, WantStatus: http.StatusNoContent}.Run()
	if err != nil {
		return err
	}
	sync, err := fsync(r.dir)
	least := millis(sync + 2*raw.P50)
	*alone, *floor, *times = append(*alone, millis(c.P50)), append(*floor, least), append(*times, millis(c.P50)/least)
	return err
}

// fsync measures the median of appending a page to a file and making it
// durable, at the same pace.
func fsync(dir string) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	took := make([]time.Duration, singles/3)
	for i := range took {
		time.Sleep(20 * time.Millisecond)
		begin := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took[i] = time.Since(begin)
	}
	p50, _, _ := rig.Quantiles(took)
	return p50, nil
}
