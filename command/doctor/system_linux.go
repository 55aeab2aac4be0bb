package doctor

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// networks are the file systems of other machines, by their magic number (statfs(2)).
var networks = map[int64]string{
	unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", unix.SMB2_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "SMB",
	unix.V9FS_MAGIC: "9P", unix.CEPH_SUPER_MAGIC: "Ceph", unix.AFS_SUPER_MAGIC: "AFS", unix.TMPFS_MAGIC: "tmpfs",
}

// space is what is free for us where a folder is, in bytes. kind is empty for a disk.
func space(dir string) (free uint64, kind string, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, "", os.NewSyscallError("statfs", err)
	}
	return s.Bavail * uint64(s.Bsize), networks[int64(uint32(s.Type))], nil
}

// synchronisation is what the kernel knows of the clock (adjtimex(2)): off is the most
// by which it may be wrong.
func synchronisation() (synchronised bool, off time.Duration, known bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, 0, false
	}
	return state != unix.TIME_ERROR, time.Duration(t.Maxerror) * time.Microsecond, true
}
