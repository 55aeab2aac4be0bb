//go:build !linux

package sqlite

import "github.com/gofrs/flock"

// lockFile locks a file beside the database: where it is not Linux, a lock on
// the database file would meet SQLite's own. It does not see hard links.
func lockFile(path string) (unlock func() error, err error) {
	lock := flock.New(path + ".lock")
	switch locked, err := lock.TryLock(); {
	case err != nil:
		return nil, err
	case !locked:
		return nil, errInUse
	}
	return lock.Unlock, nil
}
