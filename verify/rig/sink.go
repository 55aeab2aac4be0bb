package rig

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"crypto/tls"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The sink receives callbacks at https://127.x.y.z:port/BEHAVIOUR/…: what it
// does with one is said by the first part of the path.
const (
	OK    = "ok"    // 204
	Hang  = "hang"  // nothing, until the caller goes
	Drip  = "drip"  // a header byte every 100 ms
	Gate  = "gate"  // 503 while the gate is closed; then 204, or 429 beyond 32 at a time
	Flaky = "flaky" // 503 once in 50, else 204
	Slow  = "slow"  // 204 after half a second
	Close = "close" // 204, and the end of the connection
)

// sinkState is shared by the handlers.
type sinkState struct {
	open     atomic.Bool // the gate
	mu       sync.Mutex
	began    time.Time
	last     []uint32 // ms from there to the last arrival of each event, plus one; 0: none
	repeats  []Repeat
	counts   Counts
	latency  *hdrhistogram.Histogram // of the well-behaved, µs from sending to arrival
	timeline []int                   // 204 for each 100 ms since the last reset
	reset    time.Time
	inFlight atomic.Int64
	accepted atomic.Int64 // connections
}

// Counts is what a sink has seen.
type Counts struct {
	Arrivals int       // answered 204
	Unique   int       // events among them
	Refused  int       // answered 429 or 503
	First    time.Time // arrival since the last reset
	// Connections were accepted, whatever came on them.
	Connections int
	// P50, P99 and Max: from the time at which the event's batch was sent.
	P50, P99, Max time.Duration
	// Timeline counts arrivals for each 100 ms since the reset.
	Timeline []int
	Missing  []int // the first event numbers below Upto that have not arrived
}

// Repeat is an arrival of an event that had arrived before.
type Repeat struct {
	Number       int
	Before, Then time.Time // to the millisecond
}

// Tick is the step of the timeline.
const Tick = 100 * time.Millisecond

func (s *sinkState) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset = time.Now()
	s.counts = Counts{}
	s.latency = hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)
	s.timeline = nil
	s.accepted.Store(0)
}

// connection is told of each connection's states.
func (s *sinkState) connection(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.accepted.Add(1)
	}
}

func (s *sinkState) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	behaviour, _, _ := strings.Cut(r.URL.Path[1:], "/")
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // cut by a kill
	}
	switch behaviour {
	case Hang:
		<-r.Context().Done()
		return
	case Drip:
		drip(w, r)
		return
	case Close:
		w.Header().Set("Connection", "close")
	case Slow:
		time.Sleep(500 * time.Millisecond)
	case Flaky:
		if rand.IntN(50) == 0 {
			s.refuse(w, http.StatusServiceUnavailable)
			return
		}
	case Gate:
		if !s.open.Load() {
			s.refuse(w, http.StatusServiceUnavailable)
			return
		}
		const limit, work = 32, 2 * time.Millisecond
		defer s.inFlight.Add(-1)
		if s.inFlight.Add(1) > limit {
			s.refuse(w, http.StatusTooManyRequests)
			return
		}
		time.Sleep(work)
	}
	s.arrived(r.Header.Get("webhook-id"), time.Now())
	w.WriteHeader(http.StatusNoContent)
}

func (s *sinkState) refuse(w http.ResponseWriter, code int) {
	s.mu.Lock()
	s.counts.Refused++
	s.mu.Unlock()
	w.WriteHeader(code)
}

func at(timeline []int, since time.Duration) []int {
	i := int(since / Tick)
	for len(timeline) <= i {
		timeline = append(timeline, 0)
	}
	timeline[i]++
	return timeline
}

// drip sends a header that never ends.
func drip(w http.ResponseWriter, r *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nX: ")); err != nil {
		return
	}
	for range 1000 {
		time.Sleep(Tick)
		if _, err := conn.Write([]byte("x")); err != nil {
			return
		}
	}
}

func (s *sinkState) arrived(id string, now time.Time) {
	number, sent, ok := parseEventID(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts.Arrivals == 0 {
		s.counts.First = now
	}
	s.counts.Arrivals++
	if !ok {
		return // the raw client's
	}
	for len(s.last) <= number {
		s.last = append(s.last, make([]uint32, 65536)...)
	}
	if before := s.last[number]; before == 0 {
		s.counts.Unique++
	} else {
		s.repeats = append(s.repeats, Repeat{Number: number, Before: s.began.Add(time.Duration(before-1) * time.Millisecond), Then: now})
	}
	s.last[number] = uint32(now.Sub(s.began).Milliseconds()) + 1
	_ = s.latency.RecordValue(max(1, now.Sub(sent).Microseconds())) // beyond ten minutes: not a latency
	s.timeline = at(s.timeline, now.Sub(s.reset))
}

func parseEventID(id string) (number int, sent time.Time, ok bool) {
	rest, ok := strings.CutPrefix(id, "evt_")
	a, b, ok2 := strings.Cut(rest, "_")
	number, err := strconv.Atoi(a)
	nanos, err2 := strconv.ParseInt(b, 10, 64)
	return number, time.Unix(0, nanos), ok && ok2 && err == nil && err2 == nil
}

// report answers GET /counts?upto=N on the control port.
func (s *sinkState) report(upto int) Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.Connections = int(s.accepted.Load())
	micros := func(v int64) time.Duration { return time.Duration(v) * time.Microsecond }
	c.P50, c.P99, c.Max = micros(s.latency.ValueAtQuantile(50)), micros(s.latency.ValueAtQuantile(99)), micros(s.latency.Max())
	c.Timeline = append([]int(nil), s.timeline...)
	for n := 0; n < upto && len(c.Missing) < 20; n++ {
		if n >= len(s.last) || s.last[n] == 0 {
			c.Missing = append(c.Missing, n)
		}
	}
	return c
}

// takeRepeats answers POST /repeats: those since the last time.
func (s *sinkState) takeRepeats() []Repeat {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repeats
	s.repeats = nil
	return r
}

// sinkMain is the sink's process. It says on its standard output where it is.
func sinkMain() error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	state := &sinkState{began: time.Now()}
	state.clear()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, r *http.Request) {
		upto, _ := strconv.Atoi(r.FormValue("upto")) // none: 0
		_ = json.NewEncoder(w).Encode(state.report(upto))
	})
	mux.HandleFunc("POST /repeats", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(state.takeRepeats()) })
	mux.HandleFunc("POST /issue", func(_ http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.FormValue("from"))
		n, _ := strconv.Atoi(r.FormValue("n"))
		for i := range n {
			_, _ = ca.of(endpointHost(from + i)) // a handshake tries again, and says so
		}
	})
	mux.HandleFunc("POST /clear", func(http.ResponseWriter, *http.Request) { state.clear() })
	mux.HandleFunc("POST /gate", func(_ http.ResponseWriter, r *http.Request) { state.open.Store(r.FormValue("open") == "true") })
	if err := json.NewEncoder(os.Stdout).Encode(sinkAddress{
		Port: l.Addr().(*net.TCPAddr).Port, Control: "http://" + control.Addr().String(), CA: ca.pem(),
	}); err != nil {
		return err
	}
	quiet := log.New(io.Discard, "", 0) // kills break handshakes
	go func() { _ = (&http.Server{Handler: mux}).Serve(control) }()
	server := &http.Server{Handler: state, ErrorLog: quiet, ConnState: state.connection, TLSConfig: &tls.Config{GetCertificate: ca.certificate}}
	if err := server.ServeTLS(l, "", ""); err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	return nil
}
