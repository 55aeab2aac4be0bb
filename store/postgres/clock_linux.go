package postgres

import (
	"time"

	"golang.org/x/sys/unix"
)

// boot is a clock that nobody sets and that goes on while the machine sleeps, as a
// lease does.
func boot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // every Linux since 2.6.39 has it
	}
	return time.Duration(t.Nano())
}
