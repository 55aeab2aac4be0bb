package receiver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"

	"github.com/recapito/recapito/dispatcher/signature"
)

// Secret is a webhook's signing secret; its text is whsec_ and base64.
type Secret []byte

// UnmarshalText implements [encoding.TextUnmarshaler]. It never repeats the
// text in an error.
func (s *Secret) UnmarshalText(text []byte) (err error) {
	*s, err = signature.ParseSecret(string(text))
	return err
}

// Secrets are what a receiver verifies with: those given, and those that stand in
// a file at the time.
type Secrets struct {
	Given []Secret
	File  string // need not exist yet; empty: none
}

var secretPattern = regexp.MustCompile(signature.SecretPrefix + `[A-Za-z0-9+/=]+`)

// Now reads the file. The error, if there are no secrets, is an [ErrUnverified].
func (s *Secrets) Now() ([][]byte, error) {
	var out [][]byte
	for _, given := range s.Given {
		out = append(out, given)
	}
	var text []byte
	var err error
	if s.File != "" {
		text, err = os.ReadFile(s.File)
	}
	for _, found := range secretPattern.FindAll(text, -1) {
		var secret Secret
		if secret.UnmarshalText(found) == nil {
			out = append(out, secret)
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case s.File == "":
		return nil, fmt.Errorf("%w: no signing secret given", ErrUnverified)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", ErrUnverified, err)
	}
	return nil, fmt.Errorf("%w: waiting for a secret in %s", ErrUnverified, s.File)
}
