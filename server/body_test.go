package server_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/recapito/recapito/server"
)

// roomy is a reader that notes how much room it is given beyond what has come.
type roomy struct {
	io.Reader
	come  int
	worst float64 // what is held, by what has come or 4 KiB
}

func (r *roomy) Read(p []byte) (int, error) {
	r.worst = max(r.worst, float64(r.come+len(p))/float64(max(r.come, 4<<10)))
	n, err := r.Reader.Read(p)
	r.come += n
	return n, err
}

// An announced body of 64 KiB cost 91 KiB at once, before a byte of it had come.
func TestAnAnnouncedBodyTakesMemoryAsItComes(t *testing.T) {
	for _, announced := range []int64{-1, 1 << 20} {
		for _, size := range []int{0, 1, 4095, 4096, 4097, 64 << 10, 1 << 20} {
			want := strings.Repeat("x", size)
			for name, from := range map[string]io.Reader{"at once": strings.NewReader(want), "in halves": iotest.HalfReader(strings.NewReader(want))} {
				r := &roomy{Reader: from}
				got, err := server.ReadAll(r, announced)
				if err != nil || !bytes.Equal(got, []byte(want)) {
					t.Errorf("%d bytes %s, %d announced: got %d bytes, %v", size, name, announced, len(got), err)
				}
				if r.worst > 5 {
					t.Errorf("%d bytes %s, %d announced: held %.1f times what had come, want some four times at most", size, name, announced, r.worst)
				}
			}
		}
	}
}
