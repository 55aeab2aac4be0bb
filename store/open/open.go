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
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
	"github.com/recapito/recapito/store/postgres"
	"github.com/recapito/recapito/store/sqlite"
	"github.com/recapito/recapito/store/transfer"
)

// Config says how a store is opened, as far as its kind has use for it. Each field
// may be left out.
type Config struct {
	// SecretKeys encrypt the signing secrets and the callback URLs: 32 bytes each,
	// the present one first.
	SecretKeys [][]byte
	// Shared opens it beside a process that serves it, to provision accounts and
	// keys.
	Shared bool
	// Alone refuses a store that a process serves. A store of one process does so anyway.
	Alone bool
	// MustExist opens a store that is there and makes none.
	MustExist bool
	Quota     store.Quota // of each account
	// OnCommit is told of every group commit.
	OnCommit func(store.Commit)
	// OnChange is told of every change, of a store of several processes, how long its answer
	// waited until all of them knew.
	OnChange func(waited time.Duration)
	Logger   *slog.Logger // default: discards
}

// ServerGap is how long a server may go on without a change that a command beside it
// has made, such as with a key that was revoked.
const ServerGap = sqlite.OthersGap

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
		return memory.New(memory.Config{Quota: cfg.Quota}), nil
	}
	if kind == onServer {
		return postgres.Open(ctx, postgres.Config{
			URL: url, SecretKeys: cfg.SecretKeys, Shared: cfg.Shared, Alone: cfg.Alone, MustExist: cfg.MustExist, Quota: cfg.Quota,
			OnCommit: cfg.OnCommit, OnChange: cfg.OnChange, Logger: cfg.Logger,
		})
	}
	return sqlite.Open(ctx, sqlite.Config{
		Path: path, SecretKeys: cfg.SecretKeys, Shared: cfg.Shared, MustExist: cfg.MustExist, Quota: cfg.Quota, OnCommit: cfg.OnCommit, Logger: cfg.Logger,
	})
}

// Source opens the store of a URL to be copied. The caller closes it.
func Source(ctx context.Context, url string) (transfer.Source, error) {
	kind, path, err := lasting(url)
	switch {
	case err != nil:
		return nil, err
	case kind == onServer:
		return postgres.OpenSource(ctx, url)
	}
	return sqlite.OpenSource(ctx, path)
}

// Target opens the store of a URL to be copied into. The caller closes it.
func Target(ctx context.Context, url string) (transfer.Target, error) {
	kind, path, err := lasting(url)
	switch {
	case err != nil:
		return nil, err
	case kind == onServer:
		return postgres.OpenTarget(ctx, url)
	}
	return sqlite.OpenTarget(ctx, path)
}

// lasting parses the URL of a store that outlives the process.
func lasting(url string) (kind, path string, err error) {
	if kind, path, err = parse(url); kind == inMemory {
		err = ErrInProcess
	}
	return kind, path, err
}

// Check returns why a text is not the URL of a store.
func Check(url string) error {
	_, _, err := parse(url)
	return err
}

// File is the database file that a URL names; there may be none at it.
func File(url string) (string, error) {
	kind, path, err := parse(url)
	switch {
	case kind == onServer:
		return "", errors.New("postgres: use the tools of PostgreSQL (pg_dump, pg_basebackup); this is for sqlite:FILE")
	case err != nil || kind != inFile:
		return "", fmt.Errorf("%q: use sqlite:FILE", url)
	}
	return path, nil
}

// Lasts reports whether a store outlives the process.
func Lasts(url string) bool {
	_, _, err := lasting(url)
	return err == nil
}

// Name is the store in words, without a password.
func Name(url string) string {
	if kind, _, err := parse(url); err != nil || kind != onServer {
		return url
	}
	cfg, err := postgres.Parse(url)
	if err != nil {
		return onServer
	}
	return postgres.Name(cfg)
}

// The kinds of stores: what goes before the colon.
const (
	inMemory = "memory"
	inFile   = "sqlite"
	onServer = "postgres"
)

func parse(url string) (kind, path string, err error) {
	kind, path, found := strings.Cut(url, ":")
	switch {
	case found && (kind == inMemory && path == "" || kind == inFile && path != ""):
		return kind, path, nil
	case found && (kind == onServer || kind == "postgresql"):
		if _, err := postgres.Parse(url); err != nil {
			return "", "", fmt.Errorf("%s: %w", kind, err)
		}
		return onServer, path, nil
	case strings.Contains(url, "@"):
		url = "…" // it may hold a password
	}
	return "", "", fmt.Errorf("%q: use memory:, sqlite:FILE or postgres://USER@HOST:PORT/DATABASE", url)
}
