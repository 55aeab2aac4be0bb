package receiver

import (
	"bytes"
	"errors"
	"fmt"
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
	"github.com/rivo/uniseg"

	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/dispatcher/signature"
)

var testSecret = []byte("a secret of twenty-six bytes")

// takes is an endpoint that acknowledges every callback.
func takes(int) int { return http.StatusNoContent }

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

func TestReceiverVerifies(t *testing.T) {
	var lines, proofs []string
	r := New(Config{Secrets: func() ([][]byte, error) { return [][]byte{testSecret}, nil }, Answer: takes, Saw: func(c Callback) {
		lines = append(lines, c.Line(terminal.Screen{}, 0))
		proofs = append(proofs, c.proof())
	}})
	tests := []struct {
		name   string
		id     string
		secret []byte
		status int
		line   string
		proof  string
	}{
		{"signed", "evt_1", testSecret, 204, "  attempt 1  -        → 204  verified", "GENUINE"},
		{"again", "evt_1", testSecret, 204, "  attempt 1  -        → 204  verified, duplicate", "GENUINE"},
		{"with another secret", "evt_2", []byte("another secret of somebody"), 401, "  attempt 1  -        → 401  forged: no signature matches", "FORGED"},
		{"unsigned", "evt_3", nil, 401, "  → 401  forged: a webhook-id, webhook-timestamp or webhook-signature header is missing or malformed", "FORGED"},
	}
	for i, test := range tests {
		if got := post(r, test.id, test.secret); got != test.status {
			t.Errorf("%s: got %d, want %d", test.name, got, test.status)
		}
		if got := lines[i]; !strings.HasSuffix(got, test.line) {
			t.Errorf("%s: printed %q, want it to end in %q", test.name, got, test.line)
		}
		if proofs[i] != test.proof {
			t.Errorf("%s: got %s, want %s", test.name, proofs[i], test.proof)
		}
	}
	if got, want := r.Summary(), "received 4, verified 2, duplicates 1; answers: 204 × 2, 401 × 2"; got != want {
		t.Errorf("summary: got %q, want %q", got, want)
	}
}

func TestReceiverDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Secrets: func() ([][]byte, error) { return nil, ErrUnverified }, Answer: takes, Saw: func(Callback) {}})
		r.Delay = 12 * time.Second
		began := time.Now()
		if got := post(r, "evt_1", nil); got != 204 {
			t.Errorf("got %d, want 204", got)
		}
		if got := time.Since(began); got != r.Delay {
			t.Errorf("answered after %v, want %v", got, r.Delay)
		}
	})
}

func TestReceiverTakesOnlyPOST(t *testing.T) {
	r := New(Config{Secrets: func() ([][]byte, error) { return nil, ErrUnverified }, Answer: takes, Saw: func(Callback) {}})
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/status", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("got %d, Allow %q, want 405, Allow POST", w.Code, w.Header().Get("Allow"))
	}
}

func TestSecretFileIsReadAnew(t *testing.T) {
	c := Secrets{File: filepath.Join(t.TempDir(), "webhook.json")}
	waiting := "not verified: waiting for a secret in " + c.File
	if got, err := c.Now(); fmt.Sprint(err) != waiting || !errors.Is(err, ErrUnverified) {
		t.Errorf("before the file is there: got %d secrets, %v, want %s", len(got), err, waiting)
	}
	if err := os.WriteFile(c.File, []byte(`{"status":409}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Now(); fmt.Sprint(err) != waiting {
		t.Errorf("without a secret in it: got %d secrets, %v, want %s", len(got), err, waiting)
	}
	if err := os.WriteFile(c.File, []byte(`{"signingSecret":"whsec_AAEC","old":"whsec_AwQF"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := c.Now()
	if diff := cmp.Diff([][]byte{{0, 1, 2}, {3, 4, 5}}, got); diff != "" || err != nil {
		t.Errorf("secrets: %v (-want +got):\n%s", err, diff)
	}
}

// A terminal of 80 columns shows a callback on one line, whatever is in it.
func TestLinesFitTheTerminal(t *testing.T) {
	long := strings.Repeat("訂單-", 20)
	for _, width := range []int{72, 80, 81, 100, 120, 127, 200} {
		for _, message := range []string{"m", "9c1f6a5e-52b0-4c41-9a3e-7d0f2b6c1e84", long} {
			for _, unproven := range []error{nil, signature.ErrMissing, signature.ErrMismatch, fmt.Errorf("%w: waiting for a secret in %s", ErrUnverified, long)} {
				for _, again := range []bool{false, true} {
					now := time.Now()
					c := Callback{At: now, EventID: "evt_01M7W83120WRJD8T6V88KDXQNA", Attempt: 13, Status: 204, Unproven: unproven, Duplicate: again}
					c.Event.MessageID, c.Event.Channel, c.Event.Status, c.Event.ReceivedAt = message, "WHATSAPP", "UNDELIVERABLE", now.Add(-99*time.Second)
					got := c.fit(terminal.Screen{}, width)
					if n := uniseg.StringWidth(got); n > width {
						t.Errorf("%d columns on %d: %s", n, width, got)
					}
					for _, want := range []string{"UNDELIVERABLE", "→ 204"} {
						if !strings.Contains(got, want) {
							t.Errorf("on %d columns: %q lacks %q", width, got, want)
						}
					}
					if want := strings.TrimRight(terminal.Column(c.proofCell(terminal.Screen{}).Text, 8), "… "); !strings.Contains(got, want) {
						t.Errorf("on %d columns: %q does not say %q", width, got, want)
					}
				}
			}
		}
	}
}

// A program can tell a forged callback from a genuine one, and one that nobody
// could verify from both.
func TestRecordTellsForgedFromGenuine(t *testing.T) {
	var records []string
	secrets, unknown := [][]byte(nil), error(nil)
	r := New(Config{Secrets: func() ([][]byte, error) { return secrets, unknown }, Answer: takes, Saw: func(c Callback) {
		c.At = time.Date(2026, 11, 20, 10, 30, 0, 5e6, time.UTC)
		records = append(records, string(c.Record()))
	}})
	unknown = fmt.Errorf("%w: waiting for a secret in webhook.json", ErrUnverified)
	post(r, "evt_1", testSecret)
	secrets, unknown = [][]byte{testSecret}, nil
	post(r, "evt_1", testSecret)
	post(r, "evt_1", []byte("another secret of somebody"))
	const event = `{"eventId":"evt_1","messageId":"m-1","channel":"RCS","status":"SENT"}`
	want := []string{
		`{"receivedAt":"2026-11-20T10:30:00.005Z","eventId":"evt_1","attempt":1,"verification":"NOT_VERIFIED","reason":"not verified: waiting for a secret in webhook.json","answer":204,"duplicate":false,"event":` + event + `}`,
		`{"receivedAt":"2026-11-20T10:30:00.005Z","eventId":"evt_1","attempt":1,"verification":"GENUINE","answer":204,"duplicate":true,"event":` + event + `}`,
		`{"receivedAt":"2026-11-20T10:30:00.005Z","eventId":"evt_1","attempt":1,"verification":"FORGED","reason":"no signature matches","answer":401,"duplicate":true,"event":` + event + `}`,
	}
	if diff := cmp.Diff(want, records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	broken := Callback{Body: []byte("\xffa\nb"), Unproven: signature.ErrMissing}
	if got := string(broken.Record()); strings.Contains(got, "\n") || !strings.Contains(got, `"body":"\ufffda\nb"`) && !strings.Contains(got, "\ufffda\\nb") {
		t.Errorf("a body that is not JSON: got %q, want one line with the body as a text", got)
	}
}
