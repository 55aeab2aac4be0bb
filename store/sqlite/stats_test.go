package sqlite

import (
	"os"
	"testing"
	"time"
)

// TestDiskOfTheStoreIsKnown: the size of its files, what is left, and the last backup,
// which is noted behind the file's own name.
func TestDiskOfTheStoreIsKnown(t *testing.T) {
	path := file(t)
	s := open(t, path)
	withWebhook(t, s)
	var want int64
	for _, name := range []string{path, path + "-wal"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		want += info.Size()
	}
	d := s.Stats().Disk
	if d == nil || d.Bytes != want || d.Free <= 0 || !d.BackedUp.IsZero() {
		t.Fatalf("got %+v, want %d bytes, some free, no backup", d, want)
	}
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 29, 1, 2, 3, 0, time.UTC)
	if err := NoteBackup(link, at); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats().Disk.BackedUp; !got.Equal(at) {
		t.Errorf("backed up at %v, want %v", got, at)
	}
	if err := os.WriteFile(path+backupMark, []byte("yesterday"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats().Disk.BackedUp; !got.IsZero() {
		t.Errorf("backed up at %v by a file that says no time, want never", got)
	}
}
