package sqlite

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/recapito/recapito/store"
)

// flipped closes a store in which events are PENDING, changes it as a disk does,
// and returns its file.
func flipped(t *testing.T, change string) (path string) {
	t.Helper()
	path = file(t)
	s := open(t, path)
	withWebhook(t, s)
	acceptMore(t, s, "e", 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	execute(t, path, change)
	return path
}

func TestDamagedPayloadIsToldFromAWholeOne(t *testing.T) {
	for name, change := range map[string]string{
		"payload":    `UPDATE deliveries SET payload = x'7b2276223a327d' WHERE event_id = 'e1'`,
		"no payload": `UPDATE deliveries SET payload = x'' WHERE event_id = 'e1'`,
		"sequence":   `UPDATE deliveries SET sequence = 9 WHERE event_id = 'e1'`,
		"message":    `UPDATE deliveries SET message_id = 'other' WHERE event_id = 'e1'`,
	} {
		t.Run(name, func(t *testing.T) {
			log := &logLines{}
			path := flipped(t, change)
			s := open(t, path, func(c *Config) { c.Logger = log.logger() })
			if err := s.Ready(t.Context()); err != nil {
				t.Errorf("Ready before the damage is met: %v", err)
			}
			for range 2 {
				b, err := s.Backlog(t.Context(), store.BacklogQuery{AccountID: "a", Now: now, Fresh: 10})
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range b.Fresh {
					if want := d.EventID == "e1"; d.Damaged != want || (d.Body == nil) != want {
						t.Errorf("%s: damaged %t, body %q; want damaged %t", d.EventID, d.Damaged, d.Body, want)
					}
				}
			}
			if err := s.Ready(t.Context()); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Ready: %v, want %v", err, store.ErrDamaged)
			}
			if n, rows := log.count("ERROR"), s.Stats().Damaged; n != 1 || rows != 1 {
				t.Errorf("%d lines tell of %d rows, want one of one: %s", n, rows, log)
			}
			c, err := Backup(t.Context(), path, filepath.Join(t.TempDir(), "backup.db"))
			if err != nil || c.Damaged != 1 {
				t.Errorf("Backup: %+v %v, want one damaged delivery", c, err)
			}
		})
	}
}

func TestRowsFromBeforeTheChecksumsAreValid(t *testing.T) {
	s := open(t, flipped(t, `UPDATE deliveries SET checksum = NULL; UPDATE totals SET checksum = NULL`))
	b, err := s.Backlog(t.Context(), store.BacklogQuery{AccountID: "a", Now: now, Fresh: 10})
	if err != nil || len(b.Fresh) != 3 || b.Fresh[0].Damaged {
		t.Errorf("Backlog: %+v %v, want three whole deliveries", b.Fresh, err)
	}
}

func TestDamagedTotalsAreRefused(t *testing.T) {
	for name, change := range map[string]string{
		"fewer are PENDING":        `UPDATE totals SET pending = pending - 1`,
		"a negative number":        `UPDATE totals SET pending = -3, checksum = NULL`,
		"the last seq is less":     `UPDATE totals SET last_seq = 1, checksum = NULL`,
		"listed beyond the newest": `UPDATE totals SET listed = 100, checksum = NULL`,
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, flipped(t, change), "its totals do not fit") })
	}
}

// One bit in the host of a callback URL brings everything to somebody else.
func TestDamagedWebhookIsNotUsed(t *testing.T) {
	for _, column := range []string{"callback_url", "secret"} {
		t.Run(column, func(t *testing.T) {
			s := open(t, flipped(t, fmt.Sprintf(`UPDATE webhooks SET %[1]s = CAST(substr(%[1]s, 1, 12) || x'7a' || substr(%[1]s, 14) AS BLOB)`, column)))
			if _, err := s.Webhook(t.Context(), "a"); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Webhook: %v, want %v", err, store.ErrDamaged)
			}
			if err := s.Ready(t.Context()); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Ready: %v, want %v", err, store.ErrDamaged)
			}
		})
	}
}
