package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/recapito/recapito/store"
)

// Stats implements [store.Statistics].
func (s *Store) Stats() store.Stats {
	t := s.w.totals.Load()
	return store.Stats{Damaged: s.damage.count(), Disk: s.disk(), Deliveries: map[store.State]int64{
		store.Pending: t.count[pending], store.Delivered: t.count[delivered],
		store.Failed: t.count[failed], store.Cancelled: t.count[cancelled],
	}}
}

func (s *Store) disk() *store.Disk {
	d := &store.Disk{Free: free(s.path), BackedUp: lastBackup(s.path)}
	for _, name := range []string{s.path, s.path + "-wal"} {
		if info, err := os.Stat(name); err == nil {
			d.Bytes += info.Size()
		}
	}
	return d
}

// backupMark is behind the name of the database file in that of a file with the time of
// the last backup: one who backs up need not be able to write to the database.
const backupMark = "-backup"

// NoteBackup lets a server of the database file at path know of a backup.
func NoteBackup(path string, at time.Time) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path+backupMark, []byte(at.UTC().Format(time.RFC3339)+"\n"), 0o644)
}

// lastBackup is zero if none is known of.
func lastBackup(path string) time.Time {
	text, err := os.ReadFile(path + backupMark)
	if err != nil {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil {
		return time.Time{}
	}
	return at
}
