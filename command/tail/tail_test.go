package tail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rivo/uniseg"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/dispatcher/signature"
	"github.com/recapito/recapito/gen/client"
)

// feed plays the server: the answers in turn, each to the query that it expects.
type feed struct {
	t     *testing.T
	turns []turn
}

type turn struct {
	query  string // "" for any
	status int    // 0: no connection
	answer string
}

func (f *feed) Do(r *http.Request) (*http.Response, error) {
	if len(f.turns) == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	now := f.turns[0]
	f.turns = f.turns[1:]
	if got := r.URL.RawQuery; now.query != "" && got != now.query {
		f.t.Errorf("query: got %s, want %s", got, now.query)
	}
	if now.status == 0 {
		return nil, &url.Error{Op: "Get", URL: r.URL.String(), Err: errors.New("connection refused")} // as net/http
	}
	kind := "application/json"
	if now.status != http.StatusOK {
		kind = "application/problem+json"
	}
	return &http.Response{
		StatusCode: now.status, Status: fmt.Sprint(now.status), Header: http.Header{"Content-Type": {kind}},
		Body: io.NopCloser(strings.NewReader(now.answer)),
	}, nil
}

func page(next string, ids ...string) string {
	var events []string
	for _, id := range ids {
		events = append(events, fmt.Sprintf(`{"eventId":%q,"acceptedAt":"2026-11-20T10:30:00.000Z","payload":{"eventId":%q}}`, id, id))
	}
	return fmt.Sprintf(`{"events":[%s],"nextCursor":%q}`, strings.Join(events, ","), next)
}

func TestEachEventIsTakenOnce(t *testing.T) {
	unavailable := `{"type":"about:blank","title":"x","status":503,"code":"STORE_UNAVAILABLE","detail":"Full."}`
	tests := []struct {
		name  string
		cfg   Config
		turns []turn
		took  string
		lost  string
		err   string
	}{
		{"from now on", Config{}, []turn{
			{"after=latest&limit=100&wait=0", 200, page("c1")}, {"after=c1&limit=100&wait=25", 200, page("c2", "e1", "e2")},
			{"after=c2&limit=100&wait=25", 200, page("c2")}, {"after=c2&limit=100&wait=25", 200, page("c3", "e3")},
		}, "[e1 e2 e3]", "[]", "<nil>"},
		{"all, and no wait", Config{All: true, NoWait: true}, []turn{
			{"limit=100&wait=0", 200, page("c1", strings.Fields(strings.Repeat("e ", 100))...)}, {"after=c1&limit=100&wait=0", 200, page("c2", "e101")},
		}, "[" + strings.Repeat("e ", 100) + "e101]", "[]", "<nil>"},
		{"through an outage", Config{}, []turn{
			{"", 0, ""}, {"after=latest&limit=100&wait=0", 200, page("c1")}, {"", 0, ""}, {"", 503, unavailable}, {"after=c1&limit=100&wait=25", 200, page("c2", "e1")}, {"", 0, ""},
			{"after=c2&limit=100&wait=25", 200, page("c3", "e2")},
		}, "[e1 e2]", "[http://a.example cannot be reached: connection refused http://a.example cannot be reached: connection refused http://a.example cannot be reached: connection refused]", "<nil>"},
		{"a key that has ended", Config{}, []turn{{"", 200, page("c1")}, {"", 401, `{"type":"about:blank","title":"x","status":401,"code":"API_KEY_REQUIRED"}`}}, "[]", "[]",
			"http://a.example refuses the API key: give another one with --api-key or RECAPITO_API_KEY, or log in again: recapito login"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, err := api.ForAccount("http://a.example", "key")
				if err != nil {
					t.Fatal(err)
				}
				if server.ClientWithResponses, err = client.NewClientWithResponses(server.URL, client.WithHTTPClient(&feed{t, test.turns})); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				took, lost, ready := []string{}, []string{}, 0
				test.cfg.Take = func(e Event) error { took = append(took, e.ID); return nil }
				test.cfg.Lost = func(why error) { lost = append(lost, why.Error()) }
				test.cfg.Ready = func() { ready++ }
				err = Follow(ctx, server, test.cfg)
				if got := fmt.Sprint(err); got != test.err {
					t.Errorf("got %s, want %s", got, test.err)
				}
				if fmt.Sprint(took) != test.took || fmt.Sprint(lost) != test.lost || ready != 1 {
					t.Errorf("got %v, lost %q, ready %d times; want %s, lost %s, ready once", took, lost, ready, test.took, test.lost)
				}
			})
		})
	}
}

var sampleEvent = Event{
	ID: "evt_1", At: time.Date(2026, 11, 20, 10, 30, 0, 0, time.Local), Payload: []byte(`{"eventId":"evt_1","messageId":"m-1","channel":"SMS","status":"DELIVERED","description":"a <b>"}`),
	Text: []byte(`{"eventId":"evt_1","payload":{"description":"a <b>"},"new":1}`),
}

// What is forwarded is a callback to the official library.
func TestForwardedIsGenuine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "secret")
	text, err := KeepSecret(file)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := KeepSecret(file); again != text || err != nil {
		t.Errorf("the secret at the next start: got another, %v, want the same", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode: got %v, %v, want 0600", info.Mode(), err)
	}
	secret, err := signature.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := standardwebhooks.NewWebhook(text)
	if err != nil {
		t.Fatal(err)
	}
	status := http.StatusNoContent
	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err = errors.Join(err, theirs.Verify(body, r.Header)); err != nil {
			t.Errorf("the program: got %v, want a genuine callback", err)
		}
		got := []string{r.Method, r.URL.Path, string(body), r.Header.Get("webhook-id"), r.Header.Get("webhook-attempt"), r.Header.Get("Content-Type"), r.UserAgent()}
		want := []string{"POST", "/hook", string(sampleEvent.Payload), "evt_1", "1", "application/json", "Recapito/1"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the callback (-want +got):\n%s", diff)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	f := NewForwarder(program.URL+"/hook", "Recapito/1", secret)
	for _, status = range []int{204, 500, 302} {
		if a := f.Forward(t.Context(), sampleEvent); a.Status != status || a.Err != nil || a.Acknowledged() != (status == 204) {
			t.Errorf("got %+v, want %d", a, status)
		}
	}
	program.Close()
	if a := f.Forward(t.Context(), sampleEvent); a.Acknowledged() || !strings.HasSuffix(fmt.Sprint(a.Err), "connection refused") {
		t.Errorf("no program: got %+v, want that the connection was refused", a)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := KeepSecret(file); err == nil {
		t.Errorf("a file without a secret: got %s, want an error", got)
	}
}

// Each event takes one line, however narrow the terminal.
func TestLinesFitTheTerminal(t *testing.T) {
	long := sampleEvent
	long.ID, long.Payload = "evt_01M7W83120WRJD8T6V88KDXQNA", []byte(`{"messageId":"`+strings.Repeat("訂單-", 20)+`","channel":"WHATSAPP","status":"UNDELIVERABLE"}`)
	for _, width := range []int{60, 80, 81, 120, 200} {
		for _, answer := range []*Answer{nil, {Status: 204, Took: 99 * time.Second}, {Err: errors.New(strings.Repeat("no such host ", 9))}} {
			got := fit(terminal.Screen{}, width, long, answer)
			if n := uniseg.StringWidth(got); n > width {
				t.Errorf("%d columns on %d: %s", n, width, got)
			}
			if !strings.Contains(got, "UNDELIVERABLE") || answer != nil && !strings.Contains(got, "→ ") {
				t.Errorf("on %d columns: %q lacks the status or the answer", width, got)
			}
		}
	}
}

func TestEventsAreShown(t *testing.T) {
	damaged := Event{ID: "evt_2", At: sampleEvent.At, Text: []byte(`{"eventId":"evt_2"}`)}
	took := 12 * time.Millisecond
	tests := []struct {
		name   string
		event  Event
		answer *Answer
		line   string // without its spaces
		record string
	}{
		{"read", sampleEvent, nil, "10:30:00 evt_1 m-1 SMS DELIVERED", `{"eventId":"evt_1","new":1,"payload":{"description":"a <b>"}}`},
		{"acknowledged", sampleEvent, &Answer{Status: 204, Took: took}, "10:30:00 evt_1 m-1 SMS DELIVERED → 204 12 ms", `{"eventId":"evt_1","forwarded":{"status":204,"durationMs":12},"new":1,"payload":{"description":"a <b>"}}`},
		{"no answer", sampleEvent, &Answer{Err: errors.New("connection refused"), Took: took}, "10:30:00 evt_1 m-1 SMS DELIVERED → connection refused", `{"eventId":"evt_1","forwarded":{"durationMs":12,"error":"connection refused"},"new":1,"payload":{"description":"a <b>"}}`},
		{"damaged", damaged, nil, "10:30:00 evt_2 (damaged) - -", `{"eventId":"evt_2"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := strings.Join(strings.Fields(Line(terminal.Screen{}, test.event, test.answer)), " "); got != test.line {
				t.Errorf("line: got %q, want %q", got, test.line)
			}
			got, err := Record(test.event, test.answer)
			if string(got) != test.record || err != nil || !json.Valid(got) {
				t.Errorf("record: got %s, %v, want %s", got, err, test.record)
			}
		})
	}
}
