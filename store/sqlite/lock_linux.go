package sqlite

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockByte is far beyond what SQLite locks of a database file (the bytes from
// 2^30 on) and beyond the end of any.
const lockByte = 1 << 62

// lockFile locks the database file for one server, by whatever name it was
// opened. The lock belongs to the open file (fcntl F_OFD_SETLK): SQLite's own
// locks belong to the process and do not meet it, and it stays until the file is
// closed here.
func lockFile(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: lockByte, Len: 1})
	if err == nil {
		return f.Close, nil
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		err = errInUse
	}
	return nil, errors.Join(err, f.Close())
}
