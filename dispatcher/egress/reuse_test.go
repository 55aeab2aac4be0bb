package egress_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

func TestReuse(t *testing.T) {
	body := func(n int) string {
		return hostile.Answer("200 OK", fmt.Sprintf("Content-Length: %d", n)) + strings.Repeat("x", n)
	}
	tests := []struct {
		name   string
		answer string
		conns  int32 // for three requests
	}{
		{"no body", hostile.OK200, 1},
		{"10 bytes", body(10), 1},
		{"60 KiB", body(60 << 10), 1},
		{"64 KiB", body(64 << 10), 1},
		{"100 KiB", body(100 << 10), 3},
		{"chunks", hostile.Answer("200 OK", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n", 1},
		{"a failure's body", strings.Replace(body(2000), "200 OK", "500 Oops", 1), 1},
		{"close", hostile.Answer("200 OK", "Connection: close", "Content-Length: 0"), 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := listenTLS(t, goodTLS(), hostile.Answering(tt.answer))
			c := newClient(t)
			for range 3 {
				if res := post(t, c, newRequest(r.url())); res.StatusCode == 0 {
					t.Errorf("Post: %v (%v), want an answer", res.Kind, res.Err)
				}
			}
			if got := r.conns.Load(); got != tt.conns {
				t.Errorf("connections for three requests: %d, want %d", got, tt.conns)
			}
			if got := r.requests.Load(); got != 3 {
				t.Errorf("requests received: %d, want 3", got)
			}
		})
	}
}

func TestIdleConnectionIsClosedAfterItsTime(t *testing.T) {
	closed := make(chan struct{})
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		s.Request()
		s.Say(hostile.OK200)
		s.Request()
		close(closed)
	})
	c := egress.New(egress.Config{Allow: loopback, RootCAs: testCA().pool, IdleTimeout: 10 * time.Millisecond})
	t.Cleanup(c.Close)
	wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection is still open 10 s after its last request, want it closed after 10 ms")
	}
	if got := r.requests.Load(); got != 1 {
		t.Errorf("requests received: %d, want 1", got)
	}
}

// The receiver takes the second request of a connection and closes, as one does
// that closes idle connections: the attempt failed, and came 5 s late. Now it is
// made again, on a new connection and once.
func TestReusedConnectionClosedIsTriedAgainOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		anew     hostile.Behaviour // on every connection but the first
		want     egress.Kind
		requests int32
		asked    int
	}{
		"answers":             {hostile.Answering(hostile.OK200), egress.Acknowledged, 3, 2},
		"closes the new one":  {hostile.Once(""), egress.ConnectionLost, 3, 2},
		"resets the new one":  {hostile.Reset(""), egress.ConnectionLost, 3, 2},
		"refuses the request": {hostile.Answering(hostile.Answer("500 Oops", "Content-Length: 0")), egress.HTTPStatus, 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var conns atomic.Int32
			r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
				if conns.Add(1) > 1 {
					tt.anew(s)
					return
				}
				s.Request()
				s.Say(hostile.OK200)
				s.Request()
			})
			c := newClient(t)
			wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
			asked := 0
			req := newRequest(r.url())
			req.Proceed = func() error { asked++; return nil }
			wantKind(t, post(t, c, req), tt.want)
			if got := r.requests.Load(); got != tt.requests {
				t.Errorf("requests received: %d, want %d", got, tt.requests)
			}
			if asked != tt.asked {
				t.Errorf("Proceed asked %d times, want %d", asked, tt.asked)
			}
		})
	}
}

func TestWithdrawnBeforeTheSecondConnection(t *testing.T) {
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		s.Request()
		s.Say(hostile.OK200)
		s.Request()
	})
	c := newClient(t)
	wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
	asked := 0
	req := newRequest(r.url())
	req.Proceed = func() error {
		if asked++; asked > 1 {
			return errNo
		}
		return nil
	}
	wantKind(t, post(t, c, req), egress.Withdrawn)
	if got := r.requests.Load(); got != 2 {
		t.Errorf("requests received: %d, want 2", got)
	}
}

// A byte of an answer came, or none until the deadline: that is the attempt's
// outcome.
func TestReusedConnectionIsNotTriedAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		second func(*hostile.Session)
		want   egress.Kind
	}{
		"half a status line": {func(s *hostile.Session) { s.Say("HTTP/1.1 2") }, egress.ConnectionLost},
		"silence":            {(*hostile.Session).Hang, egress.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
				s.Request()
				s.Say(hostile.OK200)
				s.Request()
				tt.second(s)
			})
			c := newClient(t)
			wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
			limit := patience
			if tt.want == egress.Timeout {
				limit = brief
			}
			wantKind(t, postWithin(t, c, newRequest(r.url()), limit), tt.want)
			if got := r.conns.Load(); got != 1 {
				t.Errorf("connections: %d, want 1", got)
			}
			if got := r.requests.Load(); got > 2 {
				t.Errorf("requests received: %d, want 2 at most", got)
			}
		})
	}
}

// The receiver closes an idle connection just as the next request may be on
// its way.
func TestIdleConnectionClosedByReceiver(t *testing.T) {
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		s.Request()
		s.Say(hostile.OK200)
	})
	c := newClient(t)
	for range 50 {
		wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
	}
	if got := r.requests.Load(); got != 50 {
		t.Errorf("requests received: %d, want 50", got)
	}
}

func TestKeepAliveZeroIsNotReused(t *testing.T) {
	for header, conns := range map[string]int32{
		"Keep-Alive: timeout=0": 2, "keep-alive: max=5, TIMEOUT=0": 2,
		"Keep-Alive: timeout=60, max=100": 1, "Keep-Alive: timeout=x": 1, "Keep-Alive: max=0": 1, "Keep-Alive:": 1,
	} {
		r := listenTLS(t, goodTLS(), hostile.Answering(hostile.Answer("200 OK", header, "Content-Length: 0")))
		c := newClient(t)
		for range 2 {
			wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
		}
		if got := r.conns.Load(); got != conns {
			t.Errorf("%s: connections for two requests: %d, want %d", header, got, conns)
		}
	}
}

// A second answer that nobody asked for ends an idle connection: it is not
// taken for the next request's.
func TestUnsolicitedAnswer(t *testing.T) {
	unsolicited, said := make(chan struct{}, 1), make(chan struct{}, 1)
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		s.Request()
		s.Say(hostile.OK200)
		select {
		case <-unsolicited:
			s.Say(hostile.Answer("410 Gone", "Content-Length: 0"))
			said <- struct{}{}
		case <-t.Context().Done():
		}
		s.Hang()
	})
	c := newClient(t)
	wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
	unsolicited <- struct{}{}
	<-said
	wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
	if got := r.conns.Load(); got != 2 {
		t.Errorf("connections for two requests: %d, want 2", got)
	}
}

// Two answers at once: the second is not taken for the next request's.
func TestTwoAnswersAtOnce(t *testing.T) {
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		s.Request()
		s.Say(hostile.OK200 + hostile.Answer("410 Gone", "Content-Length: 0"))
		s.Hang()
	})
	c := newClient(t)
	for range 20 {
		wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
	}
	if got := r.conns.Load(); got != 20 {
		t.Errorf("connections for 20 requests: %d, want 20", got)
	}
}

// A connection that the receiver has closed is not used again.
func TestConnectionClosedWhileIdleCostsNothing(t *testing.T) {
	closed := make(chan struct{}, 1)
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		s.Request()
		s.Say(hostile.OK200)
		_ = s.NetConn().Close()
		closed <- struct{}{}
	})
	c := newClient(t)
	for range 5 {
		wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
		<-closed
	}
}

// A receiver that answers without reading: small bodies lose nothing.
func TestAnswerWithoutReadingBody(t *testing.T) {
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		if _, err := s.In.ReadString('\n'); err == nil {
			s.Say(hostile.Answer("200 OK", "Connection: close", "Content-Length: 0"))
		}
	})
	wantKind(t, post(t, newClient(t), newRequest(r.url())), egress.Acknowledged)

	large := newRequest(r.url())
	large.Body = make([]byte, 8<<20)
	res := post(t, newClient(t), large)
	if res.Kind != egress.Acknowledged && res.Kind != egress.ConnectionLost {
		t.Errorf("8 MiB: Post: %v (%v), want ACKNOWLEDGED or CONNECTION_LOST", res.Kind, res.Err)
	}
}

// Two accounts share a host. What the one asks for since its URL was put does
// not touch the connection of the other.
func TestConnectionMadeSinceAChange(t *testing.T) {
	r := listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200))
	c := newClient(t)
	attempt := func(since time.Time, conns int32) {
		t.Helper()
		req := newRequest(r.url())
		req.MadeSince = since
		wantKind(t, post(t, c, req), egress.Acknowledged)
		if got := r.conns.Load(); got != conns {
			t.Errorf("connections so far: %d, want %d", got, conns)
		}
	}
	attempt(time.Time{}, 1)
	put := time.Now()
	attempt(put, 2)
	attempt(put, 2)
	attempt(time.Time{}, 2)
	attempt(time.Now(), 3)
	want := egress.Stats{Dials: 3, Resumed: 2, Reused: 2, Idle: 3}
	if diff := cmp.Diff(want, c.Stats()); diff != "" {
		t.Errorf("Stats (-want +got):\n%s", diff)
	}
}

// A busy connection ends, too: a name that has moved is looked up again.
func TestBusyConnectionEndsWithItsLife(t *testing.T) {
	r := listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200))
	c := egress.New(egress.Config{
		Allow: loopback, RootCAs: testCA().pool, ConnectionLife: 100 * time.Millisecond, Jitter: func() float64 { return 0 },
	})
	t.Cleanup(c.Close)
	begin := time.Now()
	for r.conns.Load() < 2 {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("after 20 s there has been one connection, want the second after 0.1 s")
		}
		wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
	}
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("the second connection was made after %v, want the first used for 100ms", took)
	}
}
