package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen/client"
)

// doer answers requests in place of a server.
type doer func(nth int) (*http.Response, error)

type countingDoer struct {
	do doer
	n  int
}

func (d *countingDoer) Do(*http.Request) (*http.Response, error) {
	d.n++
	return d.do(d.n)
}

func response(status int, contentType, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {contentType}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func accepted() *http.Response {
	return response(http.StatusAccepted, "application/json", `{"accepted":1,"duplicates":0,"skipped":[]}`)
}

func posterTo(t *testing.T, giveUp time.Duration, do doer) (*Poster, *countingDoer) {
	t.Helper()
	d := &countingDoer{do: do}
	api, err := client.NewClientWithResponses("http://server.test", client.WithHTTPClient(d))
	if err != nil {
		t.Fatal(err)
	}
	return &Poster{client: api, giveUp: giveUp, Waiting: func(error) {}, Skipped: func(string) {}}, d
}

var oneLineBatch = Batch{{Number: 7, Text: []byte(`{}`)}}

func TestSendTriesAgain(t *testing.T) {
	tests := []struct {
		name  string
		fail  func() (*http.Response, error) // the first two answers
		after time.Duration                  // when the third one comes
	}{
		{"no connection", func() (*http.Response, error) { return nil, errors.New("connection refused") }, 600 * time.Millisecond},
		{"503", func() (*http.Response, error) { return response(503, "text/plain", ""), nil }, 600 * time.Millisecond},
		{"503 with Retry-After", func() (*http.Response, error) { return response(503, "text/plain", "", "Retry-After", "7"), nil }, 14 * time.Second},
		{"429 with a date", func() (*http.Response, error) {
			return response(429, "text/plain", "", "Retry-After", time.Now().Add(3*time.Second).UTC().Format(http.TimeFormat)), nil
		}, 6 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, d := posterTo(t, time.Minute, func(nth int) (*http.Response, error) {
					if nth <= 2 {
						return test.fail()
					}
					return accepted(), nil
				})
				began := time.Now()
				result, err := p.Send(t.Context(), oneLineBatch)
				if err != nil || result.Accepted != 1 || d.n != 3 {
					t.Errorf("got %+v, %v after %d tries, want 1 accepted after 3", result, err, d.n)
				}
				if got := time.Since(began); got != test.after {
					t.Errorf("the third try: got after %v, want after %v", got, test.after)
				}
			})
		})
	}
}

// A batch is tried until the time is over: not earlier, because the next gap would
// pass it, and not later.
func TestSendGivesUpWhenTheTimeIsOver(t *testing.T) {
	full := func() (*http.Response, error) {
		return response(503, "application/problem+json", `{"type":"about:blank","title":"x","status":503,"detail":"Full."}`), nil
	}
	tests := []struct {
		name   string
		giveUp time.Duration
		fail   func() (*http.Response, error)
		tries  int // at 0, 0.2, 0.6, 1.4, 3, 6.2, then every 5 s, and at the end
		want   string
	}{
		{"no second try", 0, full, 1, "gave up on line 7 after 0s: the server answered 503: Full."},
		{"3 s", 3 * time.Second, full, 5, "gave up on line 7 after 3s: the server answered 503: Full."},
		{"5 s", 5 * time.Second, full, 6, "gave up on line 7 after 5s: the server answered 503: Full."},
		{"a minute", time.Minute, full, 17, "gave up on line 7 after 1m0s: the server answered 503: Full."},
		{"Retry-After is later", 3 * time.Second, func() (*http.Response, error) {
			return response(503, "text/plain", "", "Retry-After", "7"), nil
		}, 2, "gave up on line 7 after 3s: the server answered 503"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, d := posterTo(t, test.giveUp, func(int) (*http.Response, error) { return test.fail() })
				began := time.Now()
				_, err := p.Send(t.Context(), oneLineBatch)
				if got := fmt.Sprint(err); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
				if took := time.Since(began); took != test.giveUp || d.n != test.tries {
					t.Errorf("gave up after %v and %d tries, want after %v and %d", took, d.n, test.giveUp, test.tries)
				}
			})
		})
	}
}

// silence is a server that never answers.
type silence struct{}

func (silence) Do(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: r.Context().Err()}
}

func TestSendDoesNotWaitForASilentServerMuchLonger(t *testing.T) {
	for giveUp, want := range map[time.Duration]time.Duration{
		0:                leastTimeout,
		time.Second:      leastTimeout,
		3 * time.Second:  3 * time.Second,
		33 * time.Second: 33 * time.Second,
		60 * time.Second: 60 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			p, _ := posterTo(t, giveUp, nil)
			p.client = &client.ClientWithResponses{ClientInterface: &client.Client{Server: "http://server.test/", Client: silence{}}}
			began := time.Now()
			_, err := p.Send(t.Context(), oneLineBatch)
			if took := time.Since(began); took < giveUp || took > want+leastTimeout {
				t.Errorf("--give-up %v: gave up after %v, want after %v to %v", giveUp, took, giveUp, want+leastTimeout)
			}
			if !strings.Contains(fmt.Sprint(err), "the server has not answered within") {
				t.Errorf("--give-up %v: got %q, want it to say that the server has not answered", giveUp, err)
			}
		})
	}
}

func TestSendNamesTheLinesThatWereSkipped(t *testing.T) {
	var b Batch
	for i, account := range []string{"a", "a", "a", "b", "b", "a", "a", "a"} {
		b = append(b, Line{Number: i + 3, account: account})
	}
	got := b.skips([]client.SkippedEvent{
		{Index: 5, Reason: client.SkipReasonUNKNOWNACCOUNT},
		{Index: 1, Reason: client.SkipReasonNOWEBHOOK},
		{Index: 2, Reason: client.SkipReasonNOWEBHOOK},
		{Index: 3, Reason: client.SkipReasonNOWEBHOOK},
		{Index: 4, Reason: "ANOTHER"},
		{Index: 6, Reason: client.SkipReasonIDREUSED},
		{Index: 7, Reason: client.SkipReasonACCOUNTUNREADABLE},
	})
	want := `lines 4 to 5 skipped: NO_WEBHOOK, account a has no webhook
line 6 skipped: NO_WEBHOOK, account b has no webhook
line 7 skipped: ANOTHER
line 8 skipped: UNKNOWN_ACCOUNT, there is no account a
line 9 skipped: ID_REUSED, account a has another event with this id
line 10 skipped: ACCOUNT_UNREADABLE, the server cannot read the webhook of account a
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestSendIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p, _ := posterTo(t, time.Minute, func(int) (*http.Response, error) { return response(503, "text/plain", ""), nil })
		_, err := p.Send(ctx, oneLineBatch)
		if got, want := fmt.Sprint(err), "interrupted at line 7"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestBatchesKeepTheLimits(t *testing.T) {
	event := func(id string, size int) string {
		head := `{"id":"` + id + `","accountId":"a","messageId":"m","channel":"SMS","destination":"+393401234567","status":"SENT","timestamp":"2026-11-20T10:30:00Z","description":"`
		return head + strings.Repeat("x", max(0, size-len(head)-2)) + `"}`
	}
	const half = batchBytes / 2
	tests := []struct {
		name  string
		most  int
		lines []string
		want  [][]int // the line numbers of each batch
	}{
		{"by number", 2, []string{event("1", 0), event("2", 0), event("3", 0)}, [][]int{{1, 2}, {3}}},
		{"blank lines", 2, []string{"", event("1", 0), "  ", event("2", 0), event("3", 0), ""}, [][]int{{2, 4}, {5}}},
		{"by size", 100, []string{event("1", half), event("2", half), event("3", 0)}, [][]int{{1}, {2, 3}}},
		{"none", 100, []string{"", ""}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := NewReader(strings.NewReader(strings.Join(test.lines, "\n")), "", test.most)
			var got [][]int
			for {
				b, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if size := len(b.body()); size > batchBytes {
					t.Errorf("a body: got %d bytes, want at most %d", size, batchBytes)
				}
				var numbers []int
				for _, l := range b {
					numbers = append(numbers, l.Number)
				}
				got = append(got, numbers)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("batches (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBrokenLinesAreToldInWords(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"not JSON", `id=1`, `line 1, column 1: is not JSON: 'i' must not stand here`},
		{"a comma too many", `{"id":"è",}`, `line 1, column 10: is not JSON: ',' must not stand here`},
		{"cut", `{"id":"1"`, "line 1, column 10: is not JSON: the line ends within the object"},
		{"cut within a text", `{"id":"1`, "line 1, column 9: is not JSON: the line ends within the object"},
		{"a list", `[]`, "line 1: must be a JSON object"},
		{"null", `null`, "line 1: must be a JSON object"},
		{"two on a line", `{"id":"1"} {"id":"2"}`, `line 1, column 12: is not JSON: '{' must not stand here`},
		{"the same member twice", `{"id":"1","id":"2"}`, `line 1, column 11: is not JSON: the member "id" stands twice`},
		{"not UTF-8", "{\"id\":\"\xff\"}", "line 1, column 8: is not JSON: this is not UTF-8"},
		{"indented, behind a byte order mark", "\ufeff  {\"id\" 1}", `line 1, column 9: is not JSON: '1' must not stand here`},
		{"too long", `{"id":"` + strings.Repeat("1", batchBytes), "line 1: is longer than 1 MiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, account := range []string{"", "acc_1"} {
				r := NewReader(strings.NewReader(test.line), account, 10)
				if _, err := r.Next(); fmt.Sprint(err) != test.want {
					t.Errorf("got %v, want %s", err, test.want)
				}
			}
		})
	}
}

func TestAccountIDIsPutIn(t *testing.T) {
	for _, line := range []string{`{"id":"1"}`, `{"accountId":"b","id":"1"}`, `{"accountId":[2],"id":"1"}`} {
		r := NewReader(strings.NewReader(line), "a", 10)
		b, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(b.body()), `{"events":[{"accountId":"a","id":"1"}]}`; got != want || b[0].account != "a" {
			t.Errorf("%s: got %s for account %q, want %s for a", line, got, b[0].account, want)
		}
	}
}
