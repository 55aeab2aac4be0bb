package sqlite

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/sqlite/crashvfs"
)

// A log that takes longer to be written into the file than a reader is waited for would
// otherwise never be: it would grow with each commit, and take longer still.
func TestLogIsEmptiedHoweverSlowTheDisk(t *testing.T) {
	vfs, err := crashvfs.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vfs.Close)
	path := file(t)
	s := open(t, path, func(c *Config) { c.logPages, c.vfs, c.rewrite = 16, vfs.Name(), vfs.Rewrite })
	withWebhook(t, s)
	vfs.Fail(func(op crashvfs.Op, name string) crashvfs.Code {
		if op == crashvfs.Write && name == filepath.Base(path) {
			time.Sleep(2 * time.Millisecond)
		}
		return crashvfs.OK
	})
	events := make([]store.Event, 100) // some 300 pages
	for i := range events {
		events[i] = event(fmt.Sprint("e", i))
		events[i].Payload = append(append([]byte(`{"v":"`), bytes.Repeat([]byte("x"), 10_000)...), `"}`...)
	}
	if _, err := s.Accept(t.Context(), events, now); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil { // begins after the log was looked at
		t.Fatal(err)
	}
	var busy, length, done int
	if err := s.history.QueryRow(`PRAGMA wal_checkpoint(NOOP)`).Scan(&busy, &length, &done); err != nil {
		t.Fatal(err)
	}
	if length-done > 2*16 {
		t.Errorf("%d of the %d pages of the log are not in the file, want at most %d", length-done, length, 2*16)
	}
}
