//go:build !(linux && amd64)

package rig

import (
	"errors"
	"os/exec"
	"time"
)

// Clock is the wall clock of one process alone; here there is none.
type Clock struct{}

func (*Clock) start(*exec.Cmd) (*Child, error) { return nil, errors.ErrUnsupported }

// Set always fails.
func (*Clock) Set(time.Duration) error { return errors.ErrUnsupported }
