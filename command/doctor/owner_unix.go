//go:build unix

package doctor

import (
	"os"
	"syscall"
)

// owner is a file's user; -1: not known.
func owner(file string) int {
	info, err := os.Stat(file)
	if err != nil {
		return -1
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(stat.Uid)
}
