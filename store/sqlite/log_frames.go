package sqlite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
)

const (
	logHeader   = 32
	frameHeader = 24
)

// logFile is the content of a log, see
// sqlite.org/fileformat2.html#the_write_ahead_log.
type logFile []byte

// readLog is nil if there is none, or SQLite would begin it anew.
func readLog(path string) (logFile, error) {
	l, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || len(l) < logHeader || binary.BigEndian.Uint32(l)&^1 != 0x377f0682 {
		return nil, nil
	}
	return l, err
}

// logRun is what is in a log since it was begun anew last.
type logRun struct {
	frames      int
	rows        int   // of totals
	first, last int64 // the commits that they count
	other       bool  // the page of totals holds something else
}

func (l logFile) runOf(alone *aloneFile) (run logRun) {
	size := frameHeader + alone.pageSize
	if int(binary.BigEndian.Uint32(l[8:])) != alone.pageSize {
		return logRun{other: true}
	}
	var order binary.ByteOrder = binary.LittleEndian
	if l[3]&1 == 1 {
		order = binary.BigEndian
	}
	sum, committed := logSum{}.add(order, l[:24]), logRun{}
	for frame := l[logHeader:]; len(frame) >= size && bytes.Equal(frame[8:16], l[16:24]); frame = frame[size:] {
		page := frame[frameHeader:size]
		if sum = sum.add(order, frame[:8]).add(order, page); sum != (logSum{binary.BigEndian.Uint32(frame[16:]), binary.BigEndian.Uint32(frame[20:])}) {
			break // what was being written
		}
		run.frames++
		if int64(binary.BigEndian.Uint32(frame)) == alone.totalsPage {
			run.see(page)
		}
		if binary.BigEndian.Uint32(frame[4:]) != 0 {
			committed = run
		}
	}
	return committed
}

// logSum is the checksum of a log.
type logSum [2]uint32

func (s logSum) add(order binary.ByteOrder, b []byte) logSum {
	for ; len(b) > 0; b = b[8:] {
		s[0] += order.Uint32(b) + s[1]
		s[1] += order.Uint32(b[4:]) + s[0]
	}
	return s
}

// see notes what a frame has as the page of totals.
func (run *logRun) see(page []byte) {
	if page[0] != leafTable || binary.BigEndian.Uint16(page[3:]) > 1 {
		run.other = true
	} else if commits, ok := commitsOf(page); ok {
		if run.rows++; run.rows == 1 {
			run.first = commits
		}
		run.last = commits
	}
}

// commitsColumn is the place of the column in the row of totals.
const (
	commitsColumn = 7
	leafTable     = 0x0d
)

// commitsOf reads the row of totals, the only one of its page, see
// sqlite.org/fileformat2.html#b_tree_pages. While the tables are made, there is
// none.
func commitsOf(page []byte) (commits int64, ok bool) {
	at := int(binary.BigEndian.Uint16(page[8:]))
	if at >= len(page) {
		return 0, false
	}
	r := record(page[at:])
	_, _ = r.varint(), r.varint() // the size of the payload, the row's id
	whole := r
	size := int(r.varint())
	if size > len(whole) || size < len(whole)-len(r) {
		return 0, false
	}
	types, values := whole[len(whole)-len(r):size], whole[size:]
	for column := 0; ; column++ {
		if len(types) == 0 {
			return 0, false
		}
		n := types.varint()
		width, fits := map[uint64]int{0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}[n]
		if !fits || width > len(values) {
			return 0, false
		}
		if column == commitsColumn {
			for _, b := range values[:width] {
				commits = commits<<8 | int64(b)
			}
			if n == 9 {
				commits = 1
			}
			return commits, true
		}
		values = values[width:]
	}
}

// record is a part of one.
type record []byte

// varint takes a number off; 0 if there is none.
func (r *record) varint() (n uint64) {
	for i := 0; i < 8 && len(*r) > 0; i++ {
		b := (*r)[0]
		*r = (*r)[1:]
		n = n<<7 | uint64(b&0x7f)
		if b < 0x80 {
			break
		}
	}
	return n
}
