//go:build linux || darwin

package sqlite

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// free is how many bytes the file system of a file has left for this process;
// negative: not known.
func free(path string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(filepath.Dir(path), &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
