package rig

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Clock is the wall clock of one process alone: the machine's, and an offset.
// The process reads the time through a page of code that the kernel maps (the
// vDSO). Its own copy of that page is changed before its first instruction. Its
// monotonic clock is not changed.
type Clock struct {
	memory *os.File // of the process
	offset int64    // address of what is added, in seconds
}

// clockCode is clock_gettime(id, at) as a system call, and after it the
// seconds that are added if id is CLOCK_REALTIME, which is 0.
var clockCode = []byte{
	0xb8, 0xe4, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi
	0x75, 0x0a, // jnz to ret
	0x48, 0x8b, 0x15, 0x06, 0, 0, 0, // mov rdx, [rip+6]: behind the code
	0x48, 0x01, 0x16, // add [rsi], rdx
	0xc3, 0xcc, 0xcc, // ret
}

// start starts the process with this clock.
func (c *Clock) start(cmd *exec.Cmd) (*Child, error) {
	runtime.LockOSThread() // who traces is a thread
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	var stopped syscall.WaitStatus
	_, err := syscall.Wait4(pid, &stopped, 0, nil) // at its exec
	if err == nil {
		err = c.install(pid)
	}
	if err == nil {
		err = syscall.PtraceDetach(pid)
	}
	child := watch(cmd) // not before: who waits for its end may take the stop as well
	if err != nil {
		child.Kill()
		return nil, fmt.Errorf("a clock for the process: %w", err)
	}
	return child, nil
}

func (c *Clock) install(pid int) error {
	from, size, err := vdso(pid)
	if err != nil {
		return err
	}
	if c.memory, err = os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0); err != nil {
		return err
	}
	image := make([]byte, size)
	if _, err := c.memory.ReadAt(image, from); err != nil {
		return err
	}
	object, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return err
	}
	symbols, err := object.DynamicSymbols()
	if err != nil {
		return err
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" && s.Size >= uint64(len(clockCode)+8) {
			c.offset = from + int64(s.Value) + int64(len(clockCode))
			_, err := c.memory.WriteAt(append(clockCode, make([]byte, 8)...), c.offset-int64(len(clockCode)))
			return err
		}
	}
	return errors.New("the vDSO has no __vdso_clock_gettime with enough room")
}

// vdso finds where the kernel has put it.
func vdso(pid int) (from, size int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		var to int64
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			_, err := fmt.Sscanf(line, "%x-%x", &from, &to)
			return from, to - from, err
		}
	}
	return 0, 0, io.ErrUnexpectedEOF
}

// Set sets the clock off the machine's by so many whole seconds.
func (c *Clock) Set(off time.Duration) error {
	_, err := c.memory.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(off/time.Second)), c.offset)
	return err
}
