package egress_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/verify/rig/hostile"
)

var errNo = errors.New("no longer wanted")

// A withdrawn request leaves nothing with the receiver: not on a new
// connection, not on a reused one, however long its header.
func TestWithdrawnSendsNothing(t *testing.T) {
	for _, path := range []string{"/", "/" + strings.Repeat("a", 2048-len("https://127.0.0.1:65535/"))} {
		for _, body := range []string{"", "{}", strings.Repeat("x", 64<<10)} {
			ended := make(chan struct{}, 2)
			r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
				hostile.Answering(hostile.OK200)(s)
				ended <- struct{}{}
			})
			c := newClient(t)
			asked := 0
			no := newRequest("https://" + r.addr + path)
			no.Body = []byte(body)
			no.Proceed = func() error { asked++; return errNo }

			res := post(t, c, no)
			wantKind(t, res, egress.Withdrawn)
			if !errors.Is(res.Err, errNo) {
				t.Errorf("Post: error %v, want %v", res.Err, errNo)
			}
			c.Close() // the connection itself is good
			<-ended
			if got := r.bytes.Load(); got != 0 {
				t.Errorf("new connection: the receiver got %d bytes, want 0", got)
			}

			c = newClient(t)
			wantKind(t, post(t, c, newRequest(r.url())), egress.Acknowledged)
			sent := r.bytes.Load()
			wantKind(t, post(t, c, no), egress.Withdrawn)
			c.Close()
			<-ended
			if got := r.bytes.Load(); got != sent {
				t.Errorf("reused connection: the receiver got %d bytes, want 0", got-sent)
			}
			if asked != 2 {
				t.Errorf("Proceed asked %d times in two posts, want 2", asked)
			}
		}
	}
}

func TestProceedAskedOnce(t *testing.T) {
	r := listenTLS(t, goodTLS(), hostile.Answering(hostile.OK200))
	c := newClient(t)
	for range 3 {
		asked := 0
		req := newRequest(r.url())
		req.Proceed = func() error { asked++; return nil }
		wantKind(t, post(t, c, req), egress.Acknowledged)
		if asked != 1 {
			t.Errorf("Proceed asked %d times, want 1", asked)
		}
	}
	if got := r.requests.Load(); got != 3 {
		t.Errorf("requests received: %d, want 3", got)
	}
}

// Where there is no connection there is nothing to proceed with.
func TestProceedNotAskedWithoutConnection(t *testing.T) {
	req := newRequest("https://10.0.0.1/")
	req.Proceed = func() error { t.Error("Proceed asked, want it not asked"); return nil }
	wantKind(t, post(t, newClient(t), req), egress.DestinationRefused)
}

// Who is told that a request was sent is told after it was allowed to proceed, and before
// its answer.
func TestSentIsToldBeforeTheAnswer(t *testing.T) {
	told := make(chan string, 3)
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		if s.Request() == nil {
			return
		}
		for _, want := range []string{"proceed", "sent"} {
			select {
			case got := <-told:
				if got != want {
					t.Errorf("told %q, want %q", got, want)
				}
			case <-t.Context().Done(): // the request has ended without it
				return
			}
		}
		s.Say(hostile.OK200)
		hostile.Answering(hostile.OK200)(s)
	})
	req := newRequest(r.url())
	req.Proceed = func() error { told <- "proceed"; return nil }
	req.Sent = func() { told <- "sent" }
	wantKind(t, post(t, newClient(t), req), egress.Acknowledged)

	req.Proceed = func() error { return errNo }
	req.Sent = func() { t.Error("a request that was withdrawn: told that it was sent") }
	wantKind(t, post(t, newClient(t), req), egress.Withdrawn)
}

func TestInterrupted(t *testing.T) {
	got := make(chan struct{})
	r := listenTLS(t, goodTLS(), func(s *hostile.Session) {
		s.Request()
		close(got)
		s.Hang()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-got
		cancel()
	}()
	wantKind(t, newClient(t).Post(ctx, newRequest(r.url())), egress.Interrupted)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	wantKind(t, newClient(t).Post(cancelled, newRequest(r.url())), egress.Interrupted)
}
