package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/sqlite"
	"github.com/recapito/recapito/verify/rig"
)

// sizing: what a million events take of the disk, and a service that has them of memory
// and files, for docs/sizing.md. One round: none of it scatters.
func sizing(l *lab) error {
	l.table(fmt.Sprintf("%d events of %d bytes over %d accounts", l.Sizing, len(rig.CallbackBody), historyAccounts),
		"events", "bytes of disk an event", "idle RSS, MiB", "open files")
	hourAgo := time.Now().Add(-time.Hour)
	for _, end := range []struct {
		what string
		is   store.Outcome
	}{
		{"delivered at the first attempt", store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, Duration: 20 * time.Millisecond, StatusCode: 204}}},
		{"put off after a failed attempt, with 200 bytes of its answer", store.Outcome{State: store.Pending, DueAt: time.Now().Add(time.Hour), Failures: 1,
			Attempt: &store.Attempt{Number: 1, Duration: 20 * time.Millisecond, StatusCode: 503, Error: "HTTP_STATUS", Response: make([]byte, 200)}}},
	} {
		if err := l.size(end.what, end.is, hourAgo); err != nil {
			return fmt.Errorf("%s: %w", end.what, err)
		}
	}
	return nil
}

// size makes events that have ended so, and looks at the file and at the service on it.
func (l *lab) size(what string, end store.Outcome, at time.Time) (err error) {
	r, err := l.prepare()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	if err := r.seed(func(ctx context.Context, st *sqlite.Store) error {
		if err := seedAccounts(ctx, st, historyAccounts, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
			return err
		}
		return seedHistory(ctx, st, 0, l.Sizing, historyAccounts, at, time.Now(), end)
	}); err != nil {
		return err
	}
	file, err := os.Stat(filepath.Join(r.dir, "recapito.db"))
	if err != nil {
		return err
	}
	return r.serving(nil, func() error {
		usage, err := rig.Measure(r.service.PID())
		l.row(what, fmt.Sprint(file.Size()/int64(l.Sizing)), fmt.Sprint(usage.RSS>>10), fmt.Sprint(usage.OpenFiles))
		return err
	})
}
