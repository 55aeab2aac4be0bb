package dispatcher

import (
	"runtime/metrics"
	"time"
)

const (
	// attemptsPerProcessor are under way at most to the proven endpoints while
	// the processors are busy: what more there are wait for them all the same,
	// and their connections, stacks and buffers leave the caches meanwhile. It
	// makes 15 % of the greatest rate (docs/benchmarks.md).
	attemptsPerProcessor = 128
	// busyWait is how long goroutines that could run wait for a processor, on
	// average, when the processors are busy: 0.3 to 0.5 ms are half of the
	// greatest rate, 2 to 4 ms all of it.
	busyWait = time.Millisecond
)

// ProcessorsBusy returns a [Config.Busy] that goes by how long the goroutines of
// this process have waited for a processor since it was asked last.
func ProcessorsBusy() func() bool {
	sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	var waits, waited float64 // until then: how many, and how long together
	ask := func() bool {
		metrics.Read(sample)
		if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
			return false // a runtime that does not count them
		}
		n, sum := 0.0, 0.0
		h := sample[0].Value.Float64Histogram()
		for i, count := range h.Counts {
			n += float64(count)
			sum += float64(count) * max(0, h.Buckets[i])
		}
		busy := sum-waited > (n-waits)*busyWait.Seconds()
		waits, waited = n, sum
		return busy
	}
	ask() // what was before says nothing
	return ask
}

// watch asks now and then whether the processors are busy.
type watch struct {
	ask   func() bool
	asked time.Time
	busy  bool
}

func (w *watch) isBusy(now time.Time) bool {
	if now.Sub(w.asked) >= watchGap {
		w.asked, w.busy = now, w.ask()
	}
	return w.busy
}
