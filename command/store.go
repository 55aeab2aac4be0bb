package command

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
	"github.com/recapito/recapito/store/sqlite"
)

// storeFlags name the store; serve, account and key have them.
type storeFlags struct {
	storeFlag
	SecretKey secretKey `placeholder:"KEY" help:"Encrypts the signing secrets and the callback URLs in the store: 32 bytes in hexadecimal or base64 (make one with: openssl rand -hex 32). Keep it: without it they cannot be read."`
}

// storeFlag is for what does not read secrets, too.
type storeFlag struct {
	Store string `default:"sqlite:recapito.db" placeholder:"URL" help:"Where everything is kept: sqlite:FILE, or memory: (lost at the end). Default: ${default}."`
}

// file is the database file of the store.
func (f *storeFlag) file() (string, error) {
	kind, rest, _ := strings.Cut(f.Store, ":")
	if kind != "sqlite" || rest == "" {
		return "", fmt.Errorf("--store %q: use sqlite:FILE", f.Store)
	}
	return rest, nil
}

// secretKey is a 32-byte key, given as text.
type secretKey []byte

// UnmarshalText implements [encoding.TextUnmarshaler]. It never repeats the
// text in an error.
func (k *secretKey) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil // an empty environment variable
	}
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if b, err := decode(string(text)); err == nil && len(b) == 32 {
			*k = b
			return nil
		}
	}
	return errors.New("must be 32 bytes in hexadecimal (64 digits) or base64 (44 characters)")
}

// open opens the store; cfg says how, but for what the flags say.
func (f *storeFlags) open(ctx context.Context, cfg sqlite.Config) (store.Store, error) {
	kind, rest, found := strings.Cut(f.Store, ":")
	switch {
	case found && kind == "memory" && rest == "":
		if cfg.Shared {
			return nil, errors.New("--store memory: lives in the server's process only; use the server's /accounts API")
		}
		return memory.New(memory.Config{}), nil
	case found && kind == "sqlite" && rest != "":
		cfg.Path, cfg.SecretKey = rest, f.SecretKey
		return sqlite.Open(ctx, cfg)
	}
	return nil, fmt.Errorf("--store %q: use memory: or sqlite:FILE", f.Store)
}
