package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/command/feed"
	"github.com/recapito/recapito/gen/client"
)

// box is a source in memory that notes what is done to it.
type box struct {
	waiting []*Message
	done    []string
	closes  error // of letters
}

func (b *box) Receive(ctx context.Context, most int) ([]*Message, error) {
	if len(b.waiting) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	n := min(most, len(b.waiting))
	got := b.waiting[:n]
	b.waiting = b.waiting[n:]
	return got, nil
}

func (b *box) note(what string, messages ...*Message) error {
	for _, m := range messages {
		what += " " + m.Place
	}
	b.done = append(b.done, what)
	return nil
}

func (b *box) Acknowledge(_ context.Context, messages []*Message) error {
	return b.note("acknowledge", messages...)
}

func (b *box) Return(_ context.Context, messages []*Message) error {
	b.waiting = append(append([]*Message{}, messages...), b.waiting...)
	return b.note("return", messages...)
}

func (b *box) DeadLetter(_ context.Context, m *Message, why Reason) error {
	return errors.Join(b.note("dead letter "+why.Code, m), b.closes)
}

func (b *box) Close(context.Context) error { return b.note("close") }

// platform is a server that answers with what the test says.
type platform func(w http.ResponseWriter, body string)

// feeding feeds messages, one event each, to a server until all is settled, and returns
// what was done.
func feeding(t *testing.T, p platform, bodies ...string) (*box, *Metrics) {
	t.Helper()
	b := &box{}
	for i, body := range bodies {
		b.waiting = append(b.waiting, &Message{Body: []byte(body), Place: fmt.Sprint(i), Identity: fmt.Sprint(i)})
	}
	f := feederOf(t, b, p)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	time.Sleep(time.Hour) // of the bubble
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	return b, f.Metrics
}

func feederOf(t *testing.T, s Source, p platform) *Feeder {
	t.Helper()
	post, err := feed.NewPoster("http://server.test", "key", 0, client.WithHTTPClient(p))
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMap(".")
	if err != nil {
		t.Fatal(err)
	}
	return &Feeder{Source: s, Map: m, Post: post, Most: 3, Drop: []string{"NO_WEBHOOK"}, Metrics: NewMetrics("1", "c"), Logger: slog.New(slog.DiscardHandler)}
}

// Do answers a request in place of a server.
func (p platform) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	p(w, string(body))
	return w.Result(), nil
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	if status >= 400 {
		w.Header().Set("Content-Type", "application/problem+json")
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

const taken = `{"accepted":1,"duplicates":0,"skipped":[]}`

func TestFeederSettles(t *testing.T) {
	tries := 0
	tests := []struct {
		name   string
		bodies []string
		p      platform
		want   []string
	}{
		{"what is taken", []string{`{"id":"a"}`, `{"id":"b"}`, `{"id":"c"}`, `{"id":"d"}`}, func(w http.ResponseWriter, _ string) { answer(w, 202, taken) },
			[]string{"acknowledge 0 1 2", "acknowledge 3", "close"}},
		{"503, then taken", []string{`{"id":"a"}`}, func(w http.ResponseWriter, _ string) {
			if tries++; tries < 3 {
				answer(w, 503, "{}")
				return
			}
			answer(w, 202, taken)
		}, []string{"return 0", "return 0", "acknowledge 0", "close"}},
		{"the bad ones of a batch", []string{`{"id":"a"}`, `{"id":"bad"}`, `{"id":"c"}`}, func(w http.ResponseWriter, body string) {
			if strings.Contains(body, "bad") {
				answer(w, 400, `{"type":"about:blank","title":"x","status":400,"code":"BODY_INVALID","errors":[{"pointer":"/events/1/id","detail":"bad"}]}`)
				return
			}
			answer(w, 202, taken)
		}, []string{"dead letter REFUSED 1", "acknowledge 0 1 2", "close"}},
		{"what is too large", []string{`{"id":"a"}`, `{"id":"big"}`, `{"id":"c"}`}, func(w http.ResponseWriter, body string) {
			if strings.Contains(body, "big") {
				answer(w, 413, "{}")
				return
			}
			answer(w, 202, taken)
		}, []string{"dead letter REFUSED 1", "acknowledge 0 1 2", "close"}},
		{"what is skipped, and dropped", []string{`{"id":"a"}`, `{"id":"b"}`}, func(w http.ResponseWriter, _ string) {
			answer(w, 202, `{"accepted":0,"duplicates":0,"skipped":[{"index":0,"reason":"NO_WEBHOOK"},{"index":1,"reason":"ID_REUSED"}]}`)
		}, []string{"dead letter ID_REUSED 1", "acknowledge 0 1", "close"}},
		{"what makes no event", []string{`text`, `{"id":"b"}`}, func(w http.ResponseWriter, _ string) { answer(w, 202, taken) },
			[]string{"dead letter MAP_FAILED 0", "acknowledge 0 1", "close"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _ := feeding(t, test.p, test.bodies...)
				if diff := cmp.Diff(test.want, b.done); diff != "" {
					t.Errorf("what was done (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Nothing that may pass makes a dead letter: not an outage, not a wrong key, not a 400
// that a body cut short has, nor one of a proxy.
func TestFeederNeverBuriesForAnOutage(t *testing.T) {
	for name, p := range map[string]platform{
		"401": func(w http.ResponseWriter, _ string) { answer(w, 401, "{}") },
		"404": func(w http.ResponseWriter, _ string) { answer(w, 404, "{}") },
		"429": func(w http.ResponseWriter, _ string) { answer(w, 429, "{}") },
		"500": func(w http.ResponseWriter, _ string) { answer(w, 500, "{}") },
		"cut": func(w http.ResponseWriter, _ string) {
			answer(w, 400, `{"type":"about:blank","title":"x","status":400,"code":"BODY_UNREADABLE"}`)
		},
		"proxy": func(w http.ResponseWriter, _ string) { http.Error(w, "no", http.StatusBadRequest) },
	} {
		synctest.Test(t, func(t *testing.T) {
			b, m := feeding(t, p, `{"id":"a"}`, `{"id":"b"}`)
			last := len(b.done) - 1
			for i, done := range b.done {
				if i < last && done != "return 0 1" {
					t.Fatalf("%s: got %q, want the messages given back", name, done)
				}
			}
			w := httptest.NewRecorder()
			m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
			if last < 100 || w.Code != http.StatusServiceUnavailable || !strings.HasPrefix(w.Body.String(), "server: ") {
				t.Errorf("%s: got %d tries, ready %d %s, want some hundred in an hour, and 503 for the server", name, last, w.Code, w.Body)
			}
		})
	}
}

// A dead letter that cannot be kept keeps the message.
func TestFeederKeepsWhatItCannotBury(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{waiting: []*Message{{Body: []byte("text"), Place: "0"}}, closes: errors.New("full")}
		f := feederOf(t, b, func(w http.ResponseWriter, _ string) { answer(w, 202, taken) })
		ctx, cancel := context.WithTimeout(t.Context(), firstGap/2)
		defer cancel()
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if diff := cmp.Diff([]string{"dead letter MAP_FAILED 0", "return 0", "close"}, b.done); diff != "" {
			t.Errorf("what was done (-want +got):\n%s", diff)
		}
	})
}

// The end that is asked for lets the request under way finish, and acknowledges.
func TestFeederFinishesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := &box{waiting: []*Message{{Body: []byte(`{"id":"a"}`), Place: "0"}, {Body: []byte(`{"id":"b"}`), Place: "1"}}}
		f := feederOf(t, b, func(w http.ResponseWriter, _ string) {
			cancel()
			time.Sleep(time.Second)
			answer(w, 202, taken)
		})
		f.Most = 1
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if diff := cmp.Diff([]string{"acknowledge 0", "close"}, b.done); diff != "" {
			t.Errorf("what was done (-want +got):\n%s", diff)
		}
	})
}
