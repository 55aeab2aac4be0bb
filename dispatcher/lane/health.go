package lane

import "time"

const (
	// failuresSuspect in a row make an endpoint suspect.
	failuresSuspect = 3
	// SlowAfter is how long an attempt may be open before its endpoint is suspect.
	SlowAfter = time.Second
	// pauseShare is the largest part of a timed-out attempt's duration that its lane
	// waits before the next attempt.
	pauseShare = 0.25
)

// Health is what a lane knows of its endpoint.
type Health struct {
	Limit   Limit
	Breaker Breaker
	proven  bool // has acknowledged
	suspect bool
	slow    int // attempts open for longer than SlowAfter
	// pausedUntil: after a timeout no attempt begins before.
	pausedUntil time.Time
}

// NewHealth is that of an endpoint of which nothing is known.
func NewHealth() Health { return Health{Limit: NewLimit()} }

// Forget forgets what was learnt of the endpoint. Attempts that are still slow stay
// counted.
func (h *Health) Forget() {
	slow := h.slow
	*h = NewHealth()
	h.slow, h.suspect = slow, slow > 0
}

// Proven reports whether the endpoint has acknowledged, and its breaker has not opened
// since.
func (h *Health) Proven() bool { return h.proven }

// Doubted reports whether the endpoint is suspect, or may be found to be once its slow
// attempts have ended, or has an open breaker.
func (h *Health) Doubted() bool { return h.suspect || h.slow > 0 || h.Breaker.open }

// Suspect reports whether the endpoint was found to be slow, silent or failing.
func (h *Health) Suspect() bool { return h.suspect }

// Slow is how many attempts are open for longer than [SlowAfter].
func (h *Health) Slow() int { return h.slow }

// BecameSlow notes that an attempt is open for longer than [SlowAfter].
func (h *Health) BecameSlow() { h.slow++ }

// SlowEnded notes that one of these has ended. blame: it was the endpoint that was
// slow.
func (h *Health) SlowEnded(blame bool) {
	h.slow--
	h.suspect = h.suspect || blame
}

// Failing reports whether several attempts in a row have failed.
func (h *Health) Failing() bool { return h.Breaker.failures >= failuresSuspect }

// wasOpen, wasFailing and wasSlowed go on with what is known from before.
func (h *Health) wasOpen(now time.Time) {
	h.Breaker = Breaker{failures: failuresOpen, open: true, gap: minProbeGap, next: now}
	h.proven = false
}

func (h *Health) wasFailing() { h.Breaker.failures, h.suspect = failuresSuspect, true }

func (h *Health) wasSlowed() { h.suspect = true }

// NothingToProbe closes the breaker although nothing has been acknowledged: the next
// delivery finds out, and its failure opens it again.
func (h *Health) NothingToProbe() {
	failures := h.Breaker.failures
	h.Forget()
	h.Breaker.failures, h.suspect = failures, true
}

// Acknowledged handles an acknowledged attempt: took is its duration, sent as in
// [Limit]. It reports whether the breaker closed.
func (h *Health) Acknowledged(took time.Duration, sent int) (closed bool) {
	h.Breaker.failures = 0
	h.proven = true
	h.pausedUntil = time.Time{}
	if h.Breaker.open {
		h.Forget()
		h.proven = true
		return true
	}
	if took < SlowAfter && h.slow == 0 {
		h.suspect = false
	}
	h.Limit.acknowledged(sent)
	return false
}

// Failure is what a failed attempt says of its endpoint.
type Failure struct {
	Overload bool // it asked for fewer attempts at a time, or took too long
	Silent   bool // it let the time of some phase pass
	Sent     int  // requests at that time, this one included
	Started  time.Time
}

// Failed handles a failed attempt and reports whether that opened the breaker.
func (h *Health) Failed(f Failure, now time.Time) (opened bool) {
	if f.Overload {
		h.Limit.overloaded(f.Started, now, f.Sent)
	}
	opened = h.Breaker.failed(now)
	if f.Silent || h.Breaker.failures >= failuresSuspect {
		h.suspect = true
	}
	h.proven = h.proven && !opened
	return opened
}

// Pause delays the next attempt, until there is a success. waited is the duration of
// the attempt that timed out. A random part of it, from 0 to 1, spreads endpoints that
// went silent together, so that they are not dialled together again.
func (h *Health) Pause(waited time.Duration, part float64, now time.Time) {
	h.pausedUntil = now.Add(time.Duration(part * pauseShare * float64(waited)))
}

// Paused reports whether no attempt is to begin yet.
func (h *Health) Paused(now time.Time) bool { return now.Before(h.pausedUntil) }

// PausedUntil is when the pause ends.
func (h *Health) PausedUntil() time.Time { return h.pausedUntil }
