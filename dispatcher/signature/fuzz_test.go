package signature_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/signature"
)

// FuzzRoundTrip signs with ours and verifies with the official library, and
// the other way round.
func FuzzRoundTrip(f *testing.F) {
	f.Add("evt_1", []byte(`{"a":1}`), []byte("secret"))
	f.Add("a.b", []byte{}, []byte{0})
	f.Add("ü", []byte{0xff, 0, '\n'}, oldSecret)
	f.Fuzz(func(t *testing.T, id string, body, secret []byte) {
		if len(secret) == 0 || id == "" {
			t.Skip("there is always a secret and an id")
		}
		now := time.Now()
		wh := theirs(t, secret)
		ours := signature.Header([][]byte{newSecret, secret}, id, now, body)
		if err := wh.Verify(body, headers(id, now, ours)); err != nil {
			t.Errorf("official Verify of ours = %v, want nil", err)
		}
		signed, err := wh.Sign(id, now, body)
		if err != nil {
			t.Fatalf("official Sign: %v", err)
		}
		if err := signature.Verify([][]byte{secret}, headers(id, now, signed), body, now); err != nil {
			t.Errorf("Verify of theirs = %v, want nil", err)
		}
	})
}

// FuzzVerify: whatever a stranger sends is one of the three refusals.
func FuzzVerify(f *testing.F) {
	f.Add("evt_1", "1700000000", "v1,AAAA v1,", []byte("{}"))
	f.Add("", "9223372036854775807", " ", []byte(nil))
	f.Fuzz(func(t *testing.T, id, timestamp, signatures string, body []byte) {
		h := http.Header{}
		h.Set("webhook-id", id)
		h.Set("webhook-timestamp", timestamp)
		h.Set("webhook-signature", signatures)
		err := signature.Verify([][]byte{oldSecret}, h, body, time.Unix(1_700_000_000, 0))
		if !errors.Is(err, signature.ErrMissing) && !errors.Is(err, signature.ErrTimestamp) && !errors.Is(err, signature.ErrMismatch) {
			t.Errorf("Verify = %v, want one of the three refusals", err)
		}
	})
}

// An event has some 600 bytes; the aim is 2 µs with one secret.
func BenchmarkHeader(b *testing.B) {
	for name, secrets := range map[string][][]byte{"one secret": {oldSecret}, "rotation": {newSecret, oldSecret}} {
		b.Run(name, func(b *testing.B) {
			body := make([]byte, 600)
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				_ = signature.Header(secrets, eventID, now, body)
			}
		})
	}
}
