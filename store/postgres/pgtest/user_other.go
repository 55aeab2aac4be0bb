//go:build !linux

package pgtest

import (
	"os/exec"
	"syscall"
)

func unprivileged() *syscall.Credential { return nil }

func endWithUs(*exec.Cmd) {}
