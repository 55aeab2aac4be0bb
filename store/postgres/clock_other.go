//go:build !linux

package postgres

import "time"

var start = time.Now()

// boot is a clock that nobody sets.
func boot() time.Duration { return time.Since(start) }
