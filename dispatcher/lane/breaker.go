package lane

import "time"

const (
	// failuresOpen in a row open the breaker.
	failuresOpen = 10
	// minProbeGap is the first gap between probes; it doubles up to maxProbeGap.
	minProbeGap = 5 * time.Second
	maxProbeGap = 5 * time.Minute
)

// Breaker knows whether an endpoint answers at all. While it is open, there are only
// probes.
type Breaker struct {
	failures int // in a row
	open     bool
	gap      time.Duration
	next     time.Time
	asked    bool // the next probe was asked for, before its gap was over
}

// Open reports whether there are only probes.
func (b *Breaker) Open() bool { return b.open }

// NextProbe is the time of the next probe, if it is open.
func (b *Breaker) NextProbe() time.Time { return b.next }

// failed handles a failed attempt and reports whether that opened the breaker.
func (b *Breaker) failed(now time.Time) (opened bool) {
	b.failures++
	if b.open || b.failures < failuresOpen {
		return false
	}
	b.open, b.gap, b.next = true, minProbeGap, now.Add(minProbeGap)
	return true
}

// ProbeNow makes the next probe due. If it fails, the gap is as before: whoever asks
// is not waited for longer.
func (b *Breaker) ProbeNow(now time.Time) {
	if b.next.After(now) {
		b.next, b.asked = now, true
	}
}

// ProbeFailed sets the time of the next probe: the gap doubles, and the endpoint may
// ask for more, but not for more than the longest gap: it says when that request may
// be repeated, and the lane's others wait for the probe.
func (b *Breaker) ProbeFailed(now time.Time, after time.Duration) {
	if !b.asked {
		b.gap = min(2*b.gap, maxProbeGap)
	}
	b.asked = false
	b.next = now.Add(max(b.gap, min(after, maxProbeGap)))
}
