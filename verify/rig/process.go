package rig

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Usage is what the kernel says of a process.
type Usage struct {
	CPU       time.Duration // user and system
	PeakRSS   int           // KiB
	RSS       int           // KiB
	OpenFiles int
}

// Measure reads the usage of a live process from /proc.
func Measure(pid int) (Usage, error) {
	var u Usage
	s, err := readStat(pid)
	if err != nil {
		return u, err
	}
	u.CPU = s.own
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		// Missing once the process is a zombie; then the zero value stays.
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &u.PeakRSS)
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &u.RSS)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	u.OpenFiles = len(files)
	return u, err
}

// stat is what /proc/PID/stat says of CPU time, user and system.
type stat struct {
	parent     int
	own, ended time.Duration // of the process, and of its children that have ended
}

func readStat(pid int) (s stat, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, err
	}
	const parent, firstTime, tick = 1, 11, 10 * time.Millisecond
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	if s.parent, err = strconv.Atoi(fields[parent]); err != nil {
		return s, err
	}
	var times [4]time.Duration
	for i := range times {
		ticks, err := strconv.Atoi(fields[firstTime+i])
		if err != nil {
			return s, err
		}
		times[i] = time.Duration(ticks) * tick
	}
	s.own, s.ended = times[0]+times[1], times[2]+times[3]
	return s, nil
}

// FamilyCPU is the CPU time of a live process and of all children that it has had.
func FamilyCPU(pid int) (time.Duration, error) {
	first, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	sum := first.own + first.ended
	for _, p := range processes {
		child, err := strconv.Atoi(p.Name())
		if err != nil {
			continue // no process
		}
		if s, err := readStat(child); err == nil && s.parent == pid { // else it has ended meanwhile
			sum += s.own
		}
	}
	return sum, nil
}

// Child is a process that the rig started and ends.
type Child struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// Start starts a process with a wall clock of its own; nil: the machine's.
func Start(cmd *exec.Cmd, clock *Clock) (*Child, error) {
	if clock != nil {
		return clock.start(cmd)
	}
	return start(cmd)
}

func start(cmd *exec.Cmd) (*Child, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return watch(cmd), nil
}

// watch waits for the end of a process that has been started.
func watch(cmd *exec.Cmd) *Child {
	c := &Child{cmd: cmd, exited: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.exited)
	}()
	return c
}

// PID is the process's number.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Kill is kill -9; it returns when the process is gone.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // it may have ended by itself
	<-c.exited
}

// Stop is SIGINT; it returns how the process ended.
func (c *Child) Stop() error {
	_ = c.cmd.Process.Signal(os.Interrupt)
	<-c.exited
	return c.err
}

// Exited is closed when the process has ended.
func (c *Child) Exited() <-chan struct{} { return c.exited }
