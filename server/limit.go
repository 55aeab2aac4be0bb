package server

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"github.com/recapito/recapito/gen"
)

// burstTime is how many seconds' worth of requests may come at once.
const burstTime = 10

// maxRate is the highest limit that can be set; beyond it, there is none.
const maxRate = 1_000_000

// limiter bounds the requests of each caller: an account, or the platform. It
// holds a bucket only for callers of the last window or two: a full bucket
// equals none.
type limiter struct {
	rate   rate.Limit
	burst  int
	window time.Duration // in which an empty bucket fills

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
	swept   time.Time
}

func newLimiter(perSecond float64) *limiter {
	burst := max(1, int(math.Ceil(perSecond*burstTime)))
	return &limiter{
		rate: rate.Limit(perSecond), burst: burst, window: seconds(float64(burst) / perSecond),
		buckets: map[string]*rate.Limiter{},
	}
}

// perMinute is a limiter of so many a minute, which may come at once.
func perMinute(n int) *limiter {
	return &limiter{rate: rate.Limit(n) / 60, burst: n, window: time.Minute, buckets: map[string]*rate.Limiter{}}
}

// allowance is what a caller has after a request.
type allowance struct {
	granted   bool
	remaining int
	// reset is when the bucket will be full, retry when there will be one
	// request in it.
	reset, retry time.Duration
}

func (l *limiter) take(caller string, now time.Time) allowance {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	b := l.buckets[caller]
	if b == nil {
		b = rate.NewLimiter(l.rate, l.burst)
		l.buckets[caller] = b
	}
	granted := b.AllowN(now, 1)
	tokens := b.TokensAt(now)
	return allowance{
		granted: granted, remaining: max(0, int(tokens)),
		reset: seconds((float64(l.burst) - tokens) / float64(l.rate)),
		retry: seconds((1 - tokens) / float64(l.rate)),
	}
}

// sweep drops the full buckets, once in a window.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < l.window {
		return
	}
	l.swept = now
	for caller, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.burst) {
			delete(l.buckets, caller)
		}
	}
}

// seconds rounds up to whole seconds, the unit of the headers. It ignores an
// excess that is only an error of floating point.
func seconds(s float64) time.Duration {
	return time.Duration(max(0, math.Ceil(s-1e-6))) * time.Second
}

// limit is the check of an operation that documents 429; other operations have
// none. The caller is the account that authentication found, or the platform if
// there is none. What the platform asks for an account counts for itself: neither
// the account nor the intake feels it.
func (s *server) limit(o *operation) []echo.MiddlewareFunc {
	if s.limiter == nil || !o.documents(http.StatusTooManyRequests) {
		return nil
	}
	return []echo.MiddlewareFunc{before(func(c echo.Context) error {
		ctx := c.Request().Context()
		caller, name := accountOf(ctx), "account"
		if caller == "" || byPlatform(ctx) {
			caller, name = "platform "+caller, "platform"
		}
		left := s.limiter.take(caller, s.Now())
		// draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4.
		h := c.Response().Header()
		h.Set("RateLimit-Policy", fmt.Sprintf(`"%s";q=%d;w=%d`, name, s.limiter.burst, int(s.limiter.window.Seconds())))
		h.Set("RateLimit", fmt.Sprintf(`"%s";r=%d;t=%d`, name, left.remaining, int(left.reset.Seconds())))
		if left.granted {
			return nil
		}
		return &refusal{
			status: http.StatusTooManyRequests, code: gen.ProblemCodeRATELIMITED, detail: "Too many requests. Try again after Retry-After.",
			header: map[string]string{"Retry-After": strconv.Itoa(max(1, int(left.retry.Seconds())))},
		}
	})}
}

func tooMany(why string, retry time.Duration) error {
	return &refusal{
		status: http.StatusTooManyRequests, code: gen.ProblemCodeRATELIMITED, detail: why + " Try again after Retry-After.",
		header: map[string]string{"Retry-After": strconv.Itoa(max(1, int(retry.Seconds())))},
	}
}
