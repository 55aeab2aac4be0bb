package signature_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher/signature"
)

// vector is an item of testdata/vectors.json, where they stand for receivers in
// any language. Their signatures were computed with Python's hmac module.
type vector struct {
	Name      string
	Secrets   []string // whsec_ and base64
	ID        string
	Timestamp int64  // Unix seconds
	Body      []byte // base64
	Signature string // the header's value
}

func vectors(t *testing.T) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatalf("ReadFile: %v", err)
	}
	var all []vector
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("Unmarshal: %v", err)
	}
	return all
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			at := time.Unix(v.Timestamp, 0)
			var secrets [][]byte
			for _, text := range v.Secrets {
				secret, err := signature.ParseSecret(text)
				if err != nil {
					t.Fatalf("ParseSecret(%q): got %v, want nil", text, err)
				}
				secrets = append(secrets, secret)
			}
			if got := signature.Header(secrets, v.ID, at, v.Body); got != v.Signature {
				t.Errorf("Header = %q, want %q", got, v.Signature)
			}
			h := headers(v.ID, at, v.Signature)
			for i, secret := range secrets {
				if err := signature.Verify([][]byte{secret}, h, v.Body, at); err != nil {
					t.Errorf("Verify with secret %d = %v, want nil", i, err)
				}
				if err := theirs(t, secret).VerifyIgnoringTimestamp(v.Body, h); err != nil {
					t.Errorf("official Verify with secret %d = %v, want nil", i, err)
				}
			}
		})
	}
}
