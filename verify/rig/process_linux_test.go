package rig

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestCPUOfAFamilyIsThatOfItsChildrenToo(t *testing.T) {
	for what, script := range map[string]string{
		"lives":     `(i=0; while [ $i -lt 100000000 ]; do i=$((i+1)); done) & wait`,
		"has ended": `(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done) & wait; read forever`,
	} {
		t.Run(what, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", script)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if _, err := cmd.StdinPipe(); err != nil { // which says nothing
				t.Fatal(err)
			}
			parent, err := Start(cmd, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer parent.Kill()
			defer func() { _ = syscall.Kill(-parent.PID(), syscall.SIGKILL) }() // and the child
			if err := Await(2*time.Minute, "the child's CPU time to be counted", func() bool {
				own, err := Measure(parent.PID())
				if err != nil {
					return false
				}
				family, err := FamilyCPU(parent.PID())
				return err == nil && family > own.CPU
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
