package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
)

func (s *service) readFeed(t *testing.T, key, query string) (ids []string, next string) {
	t.Helper()
	feed := decode[gen.EventFeed](t, s.do(call{method: "GET", path: webhookPath + "/events?" + query, apiKey: key}).want(t, http.StatusOK))
	ids = []string{}
	for _, e := range feed.Events {
		ids = append(ids, e.EventID)
	}
	return ids, feed.NextCursor
}

func TestFeed(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	other, stranger := s.subscriber()
	if ids, next := s.readFeed(t, key, ""); len(ids) > 0 || next == "" {
		t.Errorf("before any event: got %v and cursor %q, want none and one", ids, next)
	}
	var want []string
	for i := range 120 {
		s.accept(t, event(fmt.Sprint("evt_", i), id), event(fmt.Sprint("evt_", i), other))
		want = append(want, fmt.Sprint("evt_", i))
	}
	for _, limit := range []int{1, 7, 100} {
		got, cursor := []string{}, ""
		for {
			ids, next := s.readFeed(t, key, fmt.Sprintf("limit=%d%s", limit, cursor))
			got = append(got, ids...)
			if cursor = "&after=" + next; len(ids) < limit {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", limit, diff)
		}
	}
	if ids, _ := s.readFeed(t, key, ""); len(ids) != 100 {
		t.Errorf("without a limit: got %d events, want 100", len(ids))
	}
	_, now := s.readFeed(t, key, "after=latest")
	s.accept(t, event("evt_new", id, `description:"a<b & c>d"`))
	got := s.do(call{method: "GET", path: webhookPath + "/events?after=" + now, apiKey: key}).want(t, http.StatusOK)
	feed, d := decode[gen.EventFeed](t, got), s.stored(t, id, "evt_new")
	if len(feed.Events) != 1 || feed.Events[0].EventID != "evt_new" || string(*feed.Events[0].Payload) != string(d.Body) || !feed.Events[0].AcceptedAt.Equal(shown(d.AcceptedAt)) {
		t.Errorf("after latest: got %s, want evt_new with the bytes that are sent: %s", got.body, d.Body)
	}
	deliveries := *s.list(t, key, "limit=1").NextCursor
	for _, c := range []struct{ key, query string }{
		{stranger, "after=" + now}, {key, "after=" + deliveries}, {key, "after=AAAA"}, {key, "after=Latest"}, {key, "wait=31"}, {key, "wait=-1"}, {key, "limit=101"}, {key, "cursor=" + now},
	} {
		s.do(call{method: "GET", path: webhookPath + "/events?" + c.query, apiKey: c.key}).want(t, http.StatusBadRequest)
	}
}

// feedOf reads the feed of an account by the handler itself, so that the clock
// can be that of synctest.
func feedOf(t *testing.T, adjust func(*server.Config)) (read func(ctx context.Context, query string) (int, gen.EventFeed), accept func(ids ...string)) {
	t.Helper()
	st := furnished(t)
	cfg := server.Config{Store: st, Spec: spec(t), PlatformKeys: keys(platformKey), CheckURL: checkURL}
	adjust(&cfg)
	h, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	read = func(ctx context.Context, query string) (int, gen.EventFeed) {
		w := ask(ctx, h, http.MethodGet, webhookPath+"/events?"+query, "")
		if w.Code != http.StatusOK {
			return w.Code, gen.EventFeed{}
		}
		return w.Code, decode[gen.EventFeed](t, answer{body: w.Body.String()})
	}
	return read, func(ids ...string) {
		var events []string
		for _, id := range ids {
			events = append(events, event(id, "acc_1"))
		}
		if w := ask(t.Context(), h, http.MethodPost, "/events", batch(events...)); w.Code != http.StatusAccepted {
			t.Errorf("hand in %v: got %d %s, want 202", ids, w.Code, w.Body)
		}
	}
}

// ask asks the handler, with the credentials of the account acc_1 and of the
// platform.
func ask(ctx context.Context, h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	r.Header = http.Header{"X-Api-Key": {"k"}, "Authorization": {"Bearer " + platformKey}, "Content-Type": {jsonType}}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestFeedWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read, accept := feedOf(t, func(*server.Config) {})
		_, end := read(t.Context(), "after=latest")
		began := time.Now()
		if code, feed := read(t.Context(), "wait=30&after="+end.NextCursor); code != http.StatusOK || len(feed.Events) > 0 || time.Since(began) != 30*time.Second {
			t.Errorf("nothing to read: got %d and %+v after %v, want 200 and none after 30s", code, feed, time.Since(began))
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				began := time.Now()
				_, feed := read(t.Context(), "wait=30&after="+end.NextCursor)
				if len(feed.Events) != 1 || feed.Events[0].EventID != "evt_1" || time.Since(began) != 7*time.Second {
					t.Errorf("an event after 7 s: got %+v after %v", feed.Events, time.Since(began))
				}
			})
		}
		time.Sleep(7 * time.Second)
		accept("evt_1")
		all.Wait()
		began = time.Now()
		if _, feed := read(t.Context(), "wait=30&after="+end.NextCursor); len(feed.Events) != 1 || time.Since(began) != 0 {
			t.Errorf("an event that is there: got %+v after %v, want it at once", feed.Events, time.Since(began))
		}
	})
}

func TestFeedStopsToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		read, _ := feedOf(t, func(c *server.Config) { c.Stop = stop })
		time.AfterFunc(3*time.Second, func() { close(stop) })
		began := time.Now()
		if code, feed := read(t.Context(), "wait=30"); code != http.StatusOK || len(feed.Events) > 0 || time.Since(began) != 3*time.Second {
			t.Errorf("the service stops after 3 s: got %d and %+v after %v, want 200 and none then", code, feed, time.Since(began))
		}
		if code, _ := read(t.Context(), "wait=30"); code != http.StatusOK || time.Since(began) != 3*time.Second {
			t.Errorf("while it stops: got %d after %v, want 200 at once", code, time.Since(began))
		}
	})
}

// TestFeedWaitsForFew: the 33rd of an account is refused, and the first beyond
// those of all accounts; who leaves makes room.
func TestFeedWaitsForFew(t *testing.T) {
	for name, most := range map[string]int{"of an account": 0, "of all": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				read, _ := feedOf(t, func(c *server.Config) { c.MaxWaiting = most })
				room := min(32, max(most, 32*(1-min(most, 1))))
				ctx, leave := context.WithCancel(t.Context())
				var all sync.WaitGroup
				for range room {
					all.Go(func() { read(ctx, "wait=30") })
				}
				synctest.Wait()
				if code, _ := read(t.Context(), "wait=30"); code != http.StatusTooManyRequests {
					t.Errorf("one beyond %d: got %d, want 429", room, code)
				}
				if code, _ := read(t.Context(), ""); code != http.StatusOK {
					t.Errorf("without a wait: got %d, want 200", code)
				}
				leave()
				all.Wait()
				if code, _ := read(t.Context(), "wait=1"); code != http.StatusOK {
					t.Errorf("when all have left: got %d, want 200", code)
				}
			})
		})
	}
}

// TestFeedReadersMissNothing: readers that wait get each event once, in order,
// while several hand in.
func TestFeedReadersMissNothing(t *testing.T) {
	const feeders, each, readers = 4, 100, 20
	read, accept := feedOf(t, func(*server.Config) {})
	var all sync.WaitGroup
	for f := range feeders {
		all.Go(func() {
			for i := range each {
				accept(fmt.Sprint("evt_", f, "_", i))
			}
		})
	}
	got := make([][]string, readers)
	for n := range readers {
		all.Go(func() {
			for query := ""; len(got[n]) < feeders*each && !t.Failed(); {
				code, feed := read(t.Context(), "limit=17&wait=30"+query)
				if code != http.StatusOK {
					t.Errorf("reader %d: got %d, want 200", n, code)
				}
				for _, e := range feed.Events {
					got[n] = append(got[n], e.EventID)
				}
				query = "&after=" + feed.NextCursor
			}
		})
	}
	all.Wait()
	for f := range feeders {
		last := -1
		for i := range each {
			at := slices.Index(got[0], fmt.Sprint("evt_", f, "_", i))
			if at <= last {
				t.Fatalf("event %d of feeder %d: at %d of the feed, want it after %d", i, f, at, last)
			}
			last = at
		}
	}
	for n := range readers {
		if diff := cmp.Diff(got[0], got[n]); diff != "" {
			t.Errorf("reader %d (-first +this):\n%s", n, diff)
		}
	}
}

// TestFeedReaderWhoLeavesIsNoFailure: there is nobody to answer.
func TestFeedReaderWhoLeavesIsNoFailure(t *testing.T) {
	s := start(t)
	_, key := s.subscriber()
	s.askAndLeave(t, key, webhookPath+"/events?wait=30")
	s.readFeed(t, key, "")
}
