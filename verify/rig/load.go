package rig

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Load makes requests to a service over connections that are kept.
type Load struct {
	URL      string // of the service
	Clients  int
	Requests int
	// PerSecond paces the load; latency then counts from the time at which a
	// request was due. 0: as fast as answers come.
	PerSecond float64
	Want      int // status
	// Make describes the i-th request: header is one whole line, or empty.
	Make func(i int) (method, path, header string, body []byte)
	// Failed is told of each request that is not answered as it should be; several may be
	// at once. Without it, the first one ends the load.
	Failed func(error)
}

// LoadResult is what a load measured.
type LoadResult struct {
	PerSecond     float64
	P50, P99, Max time.Duration
	Took          []time.Duration // each request, in order
}

// Run makes the requests; it fails if one is not answered as it should be and nobody is
// told.
func (l Load) Run() (LoadResult, error) {
	took := make([]time.Duration, l.Requests)
	begin := time.Now()
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var clients sync.WaitGroup
	for range l.Clients {
		clients.Go(func() {
			line := &line{addr: strings.TrimPrefix(l.URL, "http://")}
			defer line.close()
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= l.Requests {
					return
				}
				due := time.Now()
				if l.PerSecond > 0 {
					due = begin.Add(time.Duration(float64(i) / l.PerSecond * float64(time.Second)))
					time.Sleep(time.Until(due))
				}
				method, path, header, body := l.Make(i)
				a, err := line.do(method, path, header, body)
				if err == nil && a.code != l.Want {
					err = fmt.Errorf("%s %s: %d %s", method, path, a.code, a.body)
				}
				switch {
				case err != nil && l.Failed != nil:
					line.close()
					l.Failed(err)
				case err != nil:
					failed.Store(&err)
				}
				took[i] = time.Since(due)
			}
		})
	}
	clients.Wait()
	if err := failed.Load(); err != nil {
		return LoadResult{}, *err
	}
	res := LoadResult{PerSecond: float64(l.Requests) / time.Since(begin).Seconds(), Took: took}
	res.P50, res.P99, res.Max = Quantiles(took)
	return res, nil
}
