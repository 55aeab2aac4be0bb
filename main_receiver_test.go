package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/dispatcher/signature"
)

var testSecret = []byte("a secret of twenty-six bytes")

// post gives the receiver one callback, signed with secret unless that is nil,
// and returns the status of the answer.
func post(r http.Handler, id string, secret []byte) int {
	body := []byte(`{"eventId":"` + id + `","messageId":"m-1","channel":"RCS","status":"SENT"}`)
	req := httptest.NewRequest(http.MethodPost, "/status", bytes.NewReader(body))
	now := time.Now()
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-attempt", "1")
	if secret != nil {
		req.Header.Set("webhook-signature", signature.Header([][]byte{secret}, id, now, body))
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Code
}

func TestMisbehaviour(t *testing.T) {
	tests := []struct {
		name string
		cmd  listenCmd
		want []int // answers to four callbacks
	}{
		{"none", listenCmd{}, []int{204, 204, 204, 204}},
		{"--fail 2", listenCmd{Fail: 2}, []int{500, 500, 204, 204}},
		{"--fail 2 --status 429", listenCmd{Fail: 2, Status: 429}, []int{429, 429, 204, 204}},
		{"--status 302", listenCmd{Status: 302}, []int{302, 302, 302, 302}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newReceiver(test.cmd.secrets, test.cmd.answer, func(callback) {})
			var got []int
			for i := range test.want {
				got = append(got, post(r, "evt_"+strconv.Itoa(i), testSecret))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReceiverVerifies(t *testing.T) {
	var lines []string
	r := newReceiver(func() [][]byte { return [][]byte{testSecret} }, (&listenCmd{}).answer, func(c callback) {
		lines = append(lines, c.line(palette{}))
	})
	tests := []struct {
		name   string
		id     string
		secret []byte
		status int
		line   string
	}{
		{"signed", "evt_1", testSecret, 204, "  attempt 1  verified  -        → 204"},
		{"again", "evt_1", testSecret, 204, "  attempt 1  verified  -        → 204  duplicate"},
		{"with another secret", "evt_2", []byte("another secret of somebody"), 401, "  no signature matches  -        → 401"},
		{"unsigned", "evt_3", nil, 401, "  a webhook-id, webhook-timestamp or webhook-signature header is missing or malformed  -        → 401"},
	}
	for i, test := range tests {
		if got := post(r, test.id, test.secret); got != test.status {
			t.Errorf("%s: got %d, want %d", test.name, got, test.status)
		}
		if got := lines[i]; !strings.HasSuffix(got, test.line) {
			t.Errorf("%s: printed %q, want it to end in %q", test.name, got, test.line)
		}
	}
	if got, want := r.summary(), "received 4, verified 2, duplicates 1; answers: 204 × 2, 401 × 2"; got != want {
		t.Errorf("summary: got %q, want %q", got, want)
	}
}

func TestReceiverDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(func() [][]byte { return nil }, (&listenCmd{}).answer, func(callback) {})
		r.delay = 12 * time.Second
		began := time.Now()
		if got := post(r, "evt_1", nil); got != 204 {
			t.Errorf("got %d, want 204", got)
		}
		if got := time.Since(began); got != r.delay {
			t.Errorf("answered after %v, want %v", got, r.delay)
		}
	})
}

func TestReceiverTakesOnlyPOST(t *testing.T) {
	r := newReceiver(func() [][]byte { return nil }, (&listenCmd{}).answer, func(callback) {})
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/status", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("got %d, Allow %q, want 405, Allow POST", w.Code, w.Header().Get("Allow"))
	}
}

func TestSecretFileIsReadAnew(t *testing.T) {
	c := listenCmd{SecretFile: filepath.Join(t.TempDir(), "webhook.json")}
	if got := c.secrets(); len(got) != 0 {
		t.Errorf("before the file is there: got %d secrets, want 0", len(got))
	}
	if err := os.WriteFile(c.SecretFile, []byte(`{"signingSecret":"whsec_AAEC","old":"whsec_AwQF"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]byte{{0, 1, 2}, {3, 4, 5}}, c.secrets()); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func TestColumnsShowNothingThatATerminalObeys(t *testing.T) {
	tests := []struct{ text, want string }{
		{"m-1", "m-1   "},
		{"message-1", "messa…"},
		{"", "-     "},
		{"\x1b[2J", "�[2J  "},
		{"a\nb", "a�b   "},
		{"訂單-📦", "訂單-📦  "},
	}
	for _, test := range tests {
		if got := column(test.text, 6); got != test.want {
			t.Errorf("column(%q, 6): got %q, want %q", test.text, got, test.want)
		}
	}
}
