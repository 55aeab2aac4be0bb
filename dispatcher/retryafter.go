package dispatcher

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/recapito/recapito/dispatcher/lane"
)

// firstEpoch: a greater number in Retry-After is a date in seconds since 1970,
// as some frameworks send it. As a count of seconds it would be 31 years.
const firstEpoch = 1_000_000_000

// parseRetryAfter reads the header's two forms (RFC 9110 §10.2.3), seconds and
// an HTTP date, and Unix time; anything else, the past included, is zero. The
// answer is at most [lane.MaxRetryAfter], however many digits the receiver sends.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseUint(value, 10, 33)
		switch {
		case err != nil:
			return lane.MaxRetryAfter
		case seconds > firstEpoch:
			return until(time.Unix(int64(seconds), 0), now)
		}
		return min(time.Duration(seconds)*time.Second, lane.MaxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return until(at, now)
}

func until(at, now time.Time) time.Duration { return min(max(at.Sub(now), 0), lane.MaxRetryAfter) }
