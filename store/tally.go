package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
	"time"
)

// Tally counts what became of an account's events and attempts, from its beginning on.
// What happened between two moments is the difference of their tallies, see
// [Tally.Between]. A change to it is a tally, too, see [Tally.Add].
type Tally struct {
	counts []count // in order of their index, none is zero
	// InARow is how many attempts in a row have failed, probes included, since the last
	// acknowledgement or PUT. In a change: Anew says whether there was one.
	InARow  int64
	Anew    bool
	Success Mark // the last acknowledged attempt
	Failure Mark // the last failed attempt
}

// Mark is an attempt as a tally remembers it.
type Mark struct {
	At         time.Time // in microseconds; zero: there was none
	Seq        int64     // of its delivery
	Number     int
	Error      ErrorKind // empty: it was acknowledged
	StatusCode int
}

// count is one counter. Its index says what it counts.
type count struct {
	index uint8
	n     int64
}

// The counters. Their numbers are kept in databases and never change.
const (
	countPending      = 0  // deliveries, as many as there are now
	countSkipped      = 1  // events, for want of a webhook
	countAcknowledged = 2  // attempts
	countOther        = 3  // attempts failed in a way that tallyKinds lacks
	countBytes        = 4  // of payloads of deliveries, as many as are PENDING now
	countKinds        = 8  // attempts failed, by their kind's place in tallyKinds
	countTimes        = 64 // attempts answered, by the time that took
)

// tallyKinds is only added to.
var tallyKinds = []ErrorKind{
	DNSFailed, ConnectFailed, DestinationRefused, TLSFailed, Timeout, ConnectionLost, ResponseInvalid, PayloadDamaged, InternalError, HTTPStatus,
}

func (t *Tally) add(index uint8, n int64) {
	at, found := slices.BinarySearchFunc(t.counts, index, func(c count, index uint8) int { return int(c.index) - int(index) })
	switch {
	case !found && n != 0:
		t.counts = slices.Insert(t.counts, at, count{index, n})
	case found && t.counts[at].n+n == 0:
		t.counts = slices.Delete(t.counts, at, at+1)
	case found:
		t.counts[at].n += n
	}
}

func (t *Tally) of(index uint8) int64 {
	for _, c := range t.counts {
		if c.index == index {
			return c.n
		}
	}
	return 0
}

// AddPending counts deliveries that have become PENDING, or are no more, and the bytes of
// their payloads.
func (t *Tally) AddPending(n, bytes int64) {
	t.add(countPending, n)
	t.add(countBytes, bytes)
}

// AddSkipped counts an event that was not accepted for want of a webhook.
func (t *Tally) AddSkipped() { t.add(countSkipped, 1) }

// BeginAnew notes a PUT.
func (t *Tally) BeginAnew() { t.InARow, t.Anew = 0, true }

// AddAttempt counts an attempt of a delivery.
func (t *Tally) AddAttempt(seq int64, a *Attempt) {
	mark := Mark{At: time.UnixMicro(a.At.UnixMicro()).UTC(), Seq: seq, Number: a.Number, Error: a.Error, StatusCode: a.StatusCode}
	if a.StatusCode != 0 {
		t.add(timeIndex(a.Duration), 1)
	}
	if a.Error == "" {
		t.add(countAcknowledged, 1)
		t.InARow, t.Anew, t.Success = 0, true, latest(t.Success, mark)
		return
	}
	t.add(kindIndex(a.Error), 1)
	t.InARow++
	t.Failure = latest(t.Failure, mark)
}

func kindIndex(kind ErrorKind) uint8 {
	if i := slices.Index(tallyKinds, kind); i >= 0 {
		return uint8(countKinds + i)
	}
	return countOther
}

// latest is the one that began later; of those that began together, that of the later
// delivery: they may be recorded in any order.
func latest(a, b Mark) Mark {
	if cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Number, b.Number)) > 0 {
		return a
	}
	return b
}

// Add adds what has changed since.
func (t *Tally) Add(change *Tally) {
	for _, c := range change.counts {
		t.add(c.index, c.n)
	}
	if change.Anew {
		t.InARow, t.Anew = change.InARow, true
	} else {
		t.InARow += change.InARow
	}
	t.Success, t.Failure = latest(t.Success, change.Success), latest(t.Failure, change.Failure)
}

// Clone returns a copy that shares nothing.
func (t *Tally) Clone() *Tally {
	c := *t
	c.counts = slices.Clone(t.counts)
	return &c
}

// Between is what happened since an earlier tally of the same account.
func (t *Tally) Between(earlier *Tally) *Tally {
	c := t.Clone()
	for _, e := range earlier.counts {
		c.add(e.index, -e.n)
	}
	return c
}

// Pending is how many deliveries are PENDING now.
func (t *Tally) Pending() int64 { return t.of(countPending) }

// PendingBytes is how long the payloads of these are together.
func (t *Tally) PendingBytes() int64 { return t.of(countBytes) }

// Skipped is how many events were not accepted for want of a webhook.
func (t *Tally) Skipped() int64 { return t.of(countSkipped) }

// Acknowledged is how many attempts were.
func (t *Tally) Acknowledged() int64 { return t.of(countAcknowledged) }

// Failed is how many attempts failed, and of which kinds: in the order in which
// [ErrorKind] lists them.
func (t *Tally) Failed() (n int64, kinds []KindCount) {
	for _, c := range t.counts {
		if c.index >= countKinds && int(c.index) < countKinds+len(tallyKinds) {
			kinds = append(kinds, KindCount{tallyKinds[c.index-countKinds], c.n})
			n += c.n
		}
	}
	return n + t.of(countOther), kinds
}

// KindCount is how many attempts failed in one way.
type KindCount struct {
	Kind ErrorKind
	N    int64
}

// The answer times are counted in steps of a quarter of a power of two, from 1 ms on:
// what is told of them is right to an eighth.
const (
	stepsPerDouble = 4
	lastDouble     = 20 // 2^20 ms are 17 minutes
)

func timeIndex(d time.Duration) uint8 {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < 1000 {
		return countTimes
	}
	double := bits.Len64(us/1000) - 1
	if double > lastDouble {
		return countTimes + 1 + stepsPerDouble*lastDouble
	}
	return uint8(countTimes + 1 + stepsPerDouble*double + int((us*stepsPerDouble)/(1000<<double)) - stepsPerDouble)
}

// timesOf is what is counted by an index: times from one on, below the other.
func timesOf(index uint8) (from, to time.Duration) {
	step := int(index) - countTimes - 1
	if step < 0 {
		return 0, time.Millisecond
	}
	at := func(step int) time.Duration {
		return time.Millisecond << (step / stepsPerDouble) * time.Duration(stepsPerDouble+step%stepsPerDouble) / stepsPerDouble
	}
	return at(step), at(step + 1)
}

// AnswerTime is the time within which a share of the answers came, from 0 to 1; false:
// there were none.
func (t *Tally) AnswerTime(share float64) (time.Duration, bool) {
	var all, before int64
	for _, c := range t.counts {
		if c.index >= countTimes {
			all += c.n
		}
	}
	wanted := share * float64(all)
	for _, c := range t.counts {
		if c.index < countTimes {
			continue
		}
		if float64(before+c.n) >= wanted {
			from, to := timesOf(c.index)
			return from + time.Duration(float64(to-from)*(wanted-float64(before))/float64(c.n)), true
		}
		before += c.n
	}
	return 0, false
}

// Append appends the tally in the form in which it is kept.
func (t *Tally) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(t.counts)))
	for _, c := range t.counts {
		b = append(b, c.index)
		b = binary.AppendVarint(b, c.n)
	}
	flags := byte(0)
	for i, is := range [...]bool{t.Anew, !t.Success.At.IsZero(), !t.Failure.At.IsZero()} {
		if is {
			flags |= 1 << i
		}
	}
	b = append(b, flags)
	b = binary.AppendVarint(b, t.InARow)
	for _, m := range [...]Mark{t.Success, t.Failure} {
		if m.At.IsZero() {
			continue
		}
		b = binary.AppendVarint(b, m.At.UnixMicro())
		b = binary.AppendVarint(b, m.Seq)
		b = binary.AppendUvarint(b, uint64(m.Number))
		b = binary.AppendUvarint(b, uint64(m.StatusCode))
		b = append(b, byte(len(m.Error)))
		b = append(b, m.Error...)
	}
	return b
}

// errTally: what is kept is no tally.
var errTally = errors.New("no tally")

// ReadTally reads what [Tally.Append] has written, and returns what follows it.
func ReadTally(b []byte) (t *Tally, rest []byte, err error) {
	r := tallyReader{b: b}
	t = &Tally{}
	for n := r.uvarint(); n > 0 && !r.failed; n-- {
		t.counts = append(t.counts, count{r.byte(), r.varint()})
	}
	flags := r.byte()
	t.Anew, t.InARow = flags&1 != 0, r.varint()
	for i, m := range [...]*Mark{&t.Success, &t.Failure} {
		if flags&(2<<i) == 0 {
			continue
		}
		m.At, m.Seq = time.UnixMicro(r.varint()).UTC(), r.varint()
		m.Number, m.StatusCode = int(r.uvarint()), int(r.uvarint())
		m.Error = ErrorKind(r.bytes(int(r.byte())))
	}
	if r.failed || !t.sort() {
		return nil, nil, errTally
	}
	return t, r.b, nil
}

// sort puts the counters in order, since a migration has added one at the beginning. Each
// is there once.
func (t *Tally) sort() bool {
	if len(t.counts) == 0 {
		return true
	}
	slices.SortFunc(t.counts, func(a, b count) int { return int(a.index) - int(b.index) })
	for i := range t.counts[1:] {
		if t.counts[i].index == t.counts[i+1].index {
			return false
		}
	}
	return true
}

// tallyReader reads one after the other until something is missing.
type tallyReader struct {
	b      []byte
	failed bool
}

func (r *tallyReader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.failed, r.b = true, nil
		return nil
	}
	var out []byte
	out, r.b = r.b[:n], r.b[n:]
	return out
}

func (r *tallyReader) byte() byte {
	if b := r.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *tallyReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *tallyReader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

// skip goes on after a number of so many bytes; zero or less: there was none.
func (r *tallyReader) skip(n int) {
	if n <= 0 {
		n = -1
	}
	r.bytes(n)
}

// Minute is the number of the minute of a time, since 1970.
func Minute(t time.Time) int64 { return t.Unix() / 60 }
