// Package signature signs callbacks and verifies them, as Standard Webhooks
// (https://www.standardwebhooks.com, v1) describes.
//
// It promises that the official libraries verify its signatures, and that Verify
// accepts theirs. It leaves out v1a (ed25519), which the official libraries do not
// support.
package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	version = "v1,"
	// Tolerance is how far a timestamp may be from the verifier's clock, either
	// way; that of the official libraries.
	Tolerance = 5 * time.Minute
	// SecretPrefix begins a secret's text form.
	SecretPrefix = "whsec_"
)

// The ways in which a callback fails to verify.
var (
	ErrMissing   = errors.New("a webhook-id, webhook-timestamp or webhook-signature header is missing or malformed")
	ErrTimestamp = errors.New("the webhook-timestamp is more than five minutes off")
	ErrMismatch  = errors.New("no signature matches")
)

// Sign returns the value of webhook-signature for one secret: "v1," and the
// base64 of the HMAC-SHA256 of "id.timestamp.body". The timestamp is at, in
// whole seconds.
func Sign(secret []byte, id string, at time.Time, body []byte) string {
	return string(appendSignature(nil, secret, id, strconv.FormatInt(at.Unix(), 10), body))
}

// Header returns the value of webhook-signature for all secrets, in their
// order, separated by spaces.
func Header(secrets [][]byte, id string, at time.Time, body []byte) string {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	out := make([]byte, 0, len(secrets)*48)
	for i, secret := range secrets {
		if i > 0 {
			out = append(out, ' ')
		}
		out = appendSignature(out, secret, id, timestamp, body)
	}
	return string(out)
}

func appendSignature(out, secret []byte, id, timestamp string, body []byte) []byte {
	out = append(out, version...)
	return base64.StdEncoding.AppendEncode(out, digest(secret, id, timestamp, body))
}

func digest(secret []byte, id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	var scratch [128]byte
	signed := append(scratch[:0], id...)
	signed = append(signed, '.')
	signed = append(signed, timestamp...)
	signed = append(signed, '.')
	mac.Write(signed)
	mac.Write(body)
	return mac.Sum(scratch[:0])
}

// Verify reports whether one of the header's signatures was made with one of
// the secrets over this body, not longer than [Tolerance] ago. The error is
// [ErrMissing], [ErrTimestamp] or [ErrMismatch].
func Verify(secrets [][]byte, header http.Header, body []byte, now time.Time) error {
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	signatures := header.Get("webhook-signature")
	if id == "" || err != nil || signatures == "" {
		return ErrMissing
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > Tolerance || off < -Tolerance {
		return ErrTimestamp
	}
	for _, secret := range secrets {
		want := digest(secret, id, timestamp, body)
		for text := range strings.FieldsSeq(signatures) {
			text, known := strings.CutPrefix(text, version)
			got, err := base64.StdEncoding.DecodeString(text)
			if known && err == nil && hmac.Equal(got, want) {
				return nil
			}
		}
	}
	return ErrMismatch
}

// ParseSecret reads a secret's text form, "whsec_" and base64. The error never
// repeats the text.
func ParseSecret(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, SecretPrefix)
	if !ok {
		return nil, fmt.Errorf("a signing secret begins with %s", SecretPrefix)
	}
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(secret) == 0 {
		return nil, fmt.Errorf("a signing secret is %s and base64", SecretPrefix)
	}
	return secret, nil
}
