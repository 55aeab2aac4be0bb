package terminal

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"testing"

	"github.com/rivo/uniseg"
	"golang.org/x/sys/unix"
)

// openTerminal makes a terminal of so many columns: what is written to it can be
// read from screen.
func openTerminal(t *testing.T, columns uint16) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return screen, terminal
}

// A longer line would be left behind on the screen each time.
func TestProgressFitsTheScreen(t *testing.T) {
	controls := regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	for _, columns := range []uint16{80, 60} {
		for _, size := range []int64{3 << 40, 12_345, -1} {
			t.Run(fmt.Sprintf("%d columns, size %d", columns, size), func(t *testing.T) {
				screen, terminal := openTerminal(t, columns)
				shown := make(chan string)
				go func() {
					text, _ := io.ReadAll(screen) // it ends with EIO
					shown <- string(text)
				}()
				for part := range int64(7) { // a bar is drawn ten times a second at most
					if err := Progress(terminal, "sending", size).Add64(max(1, size/7*part)); err != nil {
						t.Error(err)
					}
				}
				terminal.Close()
				lines := regexp.MustCompile(`[\r\n]+`).Split(controls.ReplaceAllString(<-shown, ""), -1)
				if len(lines) < 7 {
					t.Errorf("it showed %q, want seven bars", lines)
				}
				for _, line := range lines {
					if n := uniseg.StringWidth(line); n > int(columns) {
						t.Errorf("%d columns: %q", n, line)
					}
				}
			})
		}
	}
}
