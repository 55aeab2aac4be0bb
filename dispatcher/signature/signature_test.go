package signature_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	official "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/recapito/recapito/dispatcher/signature"
)

var (
	oldSecret = []byte("0123456789abcdef0123456789abcdef")
	newSecret = []byte("fedcba9876543210fedcba9876543210")
	payload   = []byte(`{"messageId":"m1","status":"DELIVERED"}`)
)

const eventID = "evt_1"

func headers(id string, at time.Time, signatures string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	h.Set("webhook-signature", signatures)
	return h
}

func theirs(t testing.TB, secret []byte) *official.Webhook {
	t.Helper()
	wh, err := official.NewWebhook(signature.SecretPrefix + base64.StdEncoding.EncodeToString(secret))
	if err != nil {
		t.Fatalf("official library: NewWebhook: %v", err)
	}
	return wh
}

// The example of the specification's libraries pins the bytes.
func TestSignKnownAnswer(t *testing.T) {
	secret, err := signature.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatalf("ParseSecret: %v", err)
	}
	got := signature.Sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("Sign = %q, want %q", got, want)
	}
}

func TestOfficialLibraryVerifiesOurs(t *testing.T) {
	now := time.Now()
	for name, secrets := range map[string][][]byte{
		"one secret": {oldSecret},
		"rotation":   {newSecret, oldSecret},
	} {
		t.Run(name, func(t *testing.T) {
			h := headers(eventID, now, signature.Header(secrets, eventID, now, payload))
			for i, secret := range secrets {
				if err := theirs(t, secret).Verify(payload, h); err != nil {
					t.Errorf("official Verify with secret %d: got %v, want nil", i, err)
				}
			}
			if theirs(t, []byte("another secret")).Verify(payload, h) == nil {
				t.Error("official Verify with a foreign secret: got nil, want an error")
			}
		})
	}
}

func TestVerifyAcceptsOfficialLibrary(t *testing.T) {
	now := time.Now()
	signed, err := theirs(t, oldSecret).Sign(eventID, now, payload)
	if err != nil {
		t.Fatalf("official Sign: %v", err)
	}
	for name, secrets := range map[string][][]byte{
		"one secret":       {oldSecret},
		"rotation, first":  {oldSecret, newSecret},
		"rotation, second": {newSecret, oldSecret},
	} {
		if err := signature.Verify(secrets, headers(eventID, now, signed), payload, now); err != nil {
			t.Errorf("%s: Verify = %v, want nil", name, err)
		}
	}
}

func TestVerify(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	good := signature.Header([][]byte{oldSecret}, eventID, now, payload)
	both := signature.Header([][]byte{newSecret, oldSecret}, eventID, now, payload)
	at := func(off time.Duration) http.Header {
		then := now.Add(off)
		return headers(eventID, then, signature.Sign(oldSecret, eventID, then, payload))
	}
	without := func(name string) http.Header {
		h := headers(eventID, now, good)
		h.Del(name)
		return h
	}
	malformed := headers(eventID, now, good)
	malformed.Set("webhook-timestamp", "yesterday")
	changed := append([]byte(nil), payload...)
	changed[3] ^= 1
	tests := []struct {
		name   string
		secret []byte
		header http.Header
		body   []byte
		want   error
	}{
		{"good", oldSecret, headers(eventID, now, good), payload, nil},
		{"rotation, old", oldSecret, headers(eventID, now, both), payload, nil},
		{"rotation, new", newSecret, headers(eventID, now, both), payload, nil},
		{"beside an unknown version", oldSecret, headers(eventID, now, "v1a,AAAA "+good), payload, nil},
		{"five minutes old", oldSecret, at(-signature.Tolerance), payload, nil},
		{"five minutes early", oldSecret, at(signature.Tolerance), payload, nil},
		{"too old", oldSecret, at(-signature.Tolerance - time.Second), payload, signature.ErrTimestamp},
		{"too early", oldSecret, at(signature.Tolerance + time.Second), payload, signature.ErrTimestamp},
		{"wrong secret", newSecret, headers(eventID, now, good), payload, signature.ErrMismatch},
		{"changed body", oldSecret, headers(eventID, now, good), changed, signature.ErrMismatch},
		{"changed id", oldSecret, headers("evt_2", now, good), payload, signature.ErrMismatch},
		{"changed time", oldSecret, headers(eventID, now.Add(time.Second), good), payload, signature.ErrMismatch},
		{"unknown version", oldSecret, headers(eventID, now, "v2"+strings.TrimPrefix(good, "v1")), payload, signature.ErrMismatch},
		{"no version", oldSecret, headers(eventID, now, strings.TrimPrefix(good, "v1,")), payload, signature.ErrMismatch},
		{"not base64", oldSecret, headers(eventID, now, "v1,***"), payload, signature.ErrMismatch},
		{"cut short", oldSecret, headers(eventID, now, good[:len(good)-8]), payload, signature.ErrMismatch},
		{"empty signature", oldSecret, headers(eventID, now, "v1,"), payload, signature.ErrMismatch},
		{"no id", oldSecret, without("webhook-id"), payload, signature.ErrMissing},
		{"no timestamp", oldSecret, without("webhook-timestamp"), payload, signature.ErrMissing},
		{"no signature", oldSecret, without("webhook-signature"), payload, signature.ErrMissing},
		{"malformed timestamp", oldSecret, malformed, payload, signature.ErrMissing},
		{"no headers", oldSecret, http.Header{}, payload, signature.ErrMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := signature.Verify([][]byte{tt.secret}, tt.header, tt.body, now)
			if !errors.Is(got, tt.want) {
				t.Errorf("Verify = %v, want %v", got, tt.want)
			}
		})
	}
}

// A timestamp at the ends of int64 must not wrap round into the tolerance.
func TestVerifyExtremeTimestamps(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, seconds := range []string{"9223372036854775807", "-9223372036854775808", "0", "-1"} {
		h := headers(eventID, now, "v1,AAAA")
		h.Set("webhook-timestamp", seconds)
		if got := signature.Verify([][]byte{oldSecret}, h, payload, now); !errors.Is(got, signature.ErrTimestamp) {
			t.Errorf("timestamp %s: Verify = %v, want %v", seconds, got, signature.ErrTimestamp)
		}
	}
}

func TestParseSecret(t *testing.T) {
	good := signature.SecretPrefix + base64.StdEncoding.EncodeToString(oldSecret)
	got, err := signature.ParseSecret(good)
	if err != nil || string(got) != string(oldSecret) {
		t.Errorf("ParseSecret(good) = %q, %v, want %q, nil", got, err, oldSecret)
	}
	for _, text := range []string{"", "whsec_", "whpk_AAAA", "AAAA", "whsec_c2VjcmV0IQ=!", "WHSEC_AAAA"} {
		got, err := signature.ParseSecret(text)
		if err == nil {
			t.Errorf("ParseSecret(%q) = %q, nil, want an error", text, got)
			continue
		}
		if rest := strings.TrimPrefix(text, signature.SecretPrefix); rest != "" && strings.Contains(err.Error(), rest) {
			t.Errorf("ParseSecret(%q): error %q repeats the secret, want it not to", text, err)
		}
	}
}
