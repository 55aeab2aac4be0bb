package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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

func posterTo(t *testing.T, giveUp time.Duration, do doer) (*poster, *countingDoer) {
	t.Helper()
	d := &countingDoer{do: do}
	api, err := client.NewClientWithResponses("http://server.test", client.WithHTTPClient(d))
	if err != nil {
		t.Fatal(err)
	}
	return &poster{api: api, giveUp: giveUp, waiting: func(error) {}}, d
}

var oneLineBatch = batch{{number: 7, text: []byte(`{}`)}}

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
				result, err := p.send(t.Context(), oneLineBatch)
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

func TestSendGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := posterTo(t, time.Minute, func(int) (*http.Response, error) {
			return response(503, "application/problem+json", `{"type":"about:blank","title":"x","status":503,"detail":"Full."}`), nil
		})
		began := time.Now()
		_, err := p.send(t.Context(), oneLineBatch)
		if got, want := fmt.Sprint(err), "gave up on line 7 after 1m0s: the server answered 503: Full."; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if took := time.Since(began); took > time.Minute || took < 50*time.Second {
			t.Errorf("got after %v, want within the last 10 s of a minute", took)
		}
	})
}

func TestSendIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p, _ := posterTo(t, time.Minute, func(int) (*http.Response, error) { return response(503, "text/plain", ""), nil })
		_, err := p.send(ctx, oneLineBatch)
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
			r := batchReader{in: newLines(strings.NewReader(strings.Join(test.lines, "\n"))), most: test.most}
			var got [][]int
			for {
				b, err := r.next()
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
					numbers = append(numbers, l.number)
				}
				got = append(got, numbers)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("batches (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBrokenLines(t *testing.T) {
	tests := []struct{ name, line, want string }{
		{"not JSON", `id=1`, "line 1: is not an event: invalid character"},
		{"cut", `{"id":"1"`, "line 1: is not an event: unexpected EOF"},
		{"a list", `[]`, "line 1: is not an event: json: cannot unmarshal array"},
		{"two on a line", `{"id":"1"} {"id":"2"}`, "line 1: is not an event: something follows the object"},
		{"an unknown member", `{"mesageId":"1"}`, `line 1: is not an event: json: unknown field "mesageId"`},
		{"a wrong type", `{"id":1}`, "line 1: is not an event: json: cannot unmarshal number"},
		{"not UTF-8", "{\"id\":\"\xff\"}", "line 1: is not UTF-8"},
		{"too long", `{"id":"` + strings.Repeat("1", batchBytes), "line 1: is longer than 1 MiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := batchReader{in: newLines(strings.NewReader(test.line)), most: 10}
			if _, err := r.next(); !strings.HasPrefix(fmt.Sprint(err), test.want) {
				t.Errorf("got %v, want %s…", err, test.want)
			}
		})
	}
}
