//go:build unix

package command

import "syscall"

// noCore keeps the memory of this process, in which there are keys, out of core files.
func noCore() error { return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
