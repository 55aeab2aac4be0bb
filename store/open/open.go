// Package open opens the store that a URL names. It alone knows every
// implementation. A text that is not the URL of a store is refused before anything
// is opened. What a store promises is said in package store.
package open

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
	"github.com/recapito/recapito/store/sqlite"
)

// Config says how a store is opened, as far as its kind has use for it. Each field
// may be left out.
type Config struct {
	// SecretKey encrypts the signing secrets and the callback URLs: 32 bytes.
	SecretKey []byte
	// Shared opens it beside a process that serves it, to provision accounts and
	// keys.
	Shared bool
	// MustExist opens a store that is there and makes none.
	MustExist bool
	// OnCommit is told of every group commit.
	OnCommit func(store.Commit)
	Logger   *slog.Logger // default: discards
}

// ErrInProcess: the store that the URL names lives in one process only, so nothing
// can be opened beside it.
var ErrInProcess = errors.New("memory: lives in the server's process only")

// Store opens the store of a URL. The caller closes it.
func Store(ctx context.Context, url string, cfg Config) (store.Store, error) {
	kind, path, err := parse(url)
	switch {
	case err != nil:
		return nil, err
	case kind == inMemory && cfg.Shared:
		return nil, ErrInProcess
	case kind == inMemory:
		return memory.New(memory.Config{}), nil
	}
	return sqlite.Open(ctx, sqlite.Config{
		Path: path, SecretKey: cfg.SecretKey, Shared: cfg.Shared, MustExist: cfg.MustExist, OnCommit: cfg.OnCommit, Logger: cfg.Logger,
	})
}

// Check returns why a text is not the URL of a store.
func Check(url string) error {
	_, _, err := parse(url)
	return err
}

// File is the database file that a URL names; there may be none at it.
func File(url string) (string, error) {
	kind, path, err := parse(url)
	if err != nil || kind != inFile {
		return "", fmt.Errorf("%q: use sqlite:FILE", url)
	}
	return path, nil
}

// The kinds of stores: what goes before the colon.
const (
	inMemory = "memory"
	inFile   = "sqlite"
)

func parse(url string) (kind, path string, err error) {
	kind, path, found := strings.Cut(url, ":")
	if found && (kind == inMemory && path == "" || kind == inFile && path != "") {
		return kind, path, nil
	}
	return "", "", fmt.Errorf("%q: use memory: or sqlite:FILE", url)
}
