package store

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func sealer(t *testing.T, key byte) *Sealer {
	t.Helper()
	s, err := NewSealer(bytes.Repeat([]byte{key}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSealerSaysWhatIsWrong: who cannot read a secret is told the reason and
// the remedy, and of a key only where a key is the remedy.
func TestSealerSaysWhatIsWrong(t *testing.T) {
	const secret, context = "secret", "acc wh"
	with, another := sealer(t, 1), sealer(t, 2)
	encrypted, inClear := with.Seal([]byte(secret), context), (*Sealer)(nil).Seal([]byte(secret), context)
	swapped := with.Seal([]byte(secret), "acc2 wh")
	for _, tt := range []struct {
		name   string
		sealer *Sealer
		kept   []byte
		sealed bool
		says   string // "": it can be read
	}{
		{"encrypted, the key", with, encrypted, false, ""},
		{"encrypted, no key", nil, encrypted, true, "no --secret-key is given: give the one"},
		{"encrypted, another key", another, encrypted, true, "another --secret-key than the one given"},
		{"encrypted, of another row", with, swapped, true, "or were altered"},
		{"encrypted, cut short", with, encrypted[:5], true, "or were altered"},
		{"in clear, no key", nil, inClear, false, ""},
		{"in clear, a key that came later", with, inClear, false, ""},
		{"of no known form, no key", nil, []byte("https://example.com/"), false, "use the version that wrote it"},
		{"of no known form, a key", with, []byte("https://example.com/"), false, "use the version that wrote it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.sealer.Open(tt.kept, context)
			if tt.says == "" {
				if err != nil || string(got) != secret {
					t.Errorf("got %q, %v; want %q", got, err, secret)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) || errors.Is(err, ErrSealed) != tt.sealed {
				t.Errorf("got %v, ErrSealed: %t; want one with %q, ErrSealed: %t", err, errors.Is(err, ErrSealed), tt.says, tt.sealed)
			}
		})
	}
}
