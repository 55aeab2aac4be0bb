package dispatcher

import (
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"
)

var digits = regexp.MustCompile(`^[0-9]+$`)

// FuzzRetryAfter: whatever a receiver sends is a time from 0 to 24 hours: the
// seconds that it says, however many digits, or the time until the date that
// it says in one of the forms of RFC 9110 or as Unix time, else none.
func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	for _, seed := range []string{
		"", "0", "5", "86400", "86401", "99999999999999999999999999", "-1", "+5", "1.5", "0x10", " 7 ", "007", "5;", "1000000000", "1000000001", "1795165200", "1795165230", "1795251601", "8589934592", "\u0665",
		"Fri, 20 Nov 2026 09:00:30 GMT", "Friday, 20-Nov-26 09:10:00 GMT", "Fri Nov 20 10:00:00 2026", "Fri, 20 Nov 2026 08:00:00 GMT",
		"Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 20 Nov 2026 09:00:30 CET", "2026-11-20T09:00:30Z", "Thu, 01 Jan 0000 00:00:00 GMT",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, want := parseRetryAfter(value, now), retryAfter(strings.TrimSpace(value), now)
		if got != want {
			t.Errorf("parseRetryAfter(%q) = %v, want %v", value, got, want)
		}
	})
}

// retryAfter is the same by another way: numbers without a limit, and the date
// forms written out.
func retryAfter(value string, now time.Time) time.Duration {
	if digits.MatchString(value) {
		seconds, _ := new(big.Int).SetString(value, 10)
		if seconds.Cmp(big.NewInt(1_000_000_000)) > 0 { // a date
			seconds.Sub(seconds, big.NewInt(now.Unix()))
		}
		if seconds.Sign() < 0 {
			return 0
		}
		if seconds.Cmp(big.NewInt(24*60*60)) >= 0 {
			return 24 * time.Hour
		}
		return time.Duration(seconds.Int64()) * time.Second
	}
	for _, form := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", "Monday, 02-Jan-06 15:04:05 MST", "Mon Jan _2 15:04:05 2006"} {
		if at, err := time.Parse(form, value); err == nil {
			return min(max(at.Sub(now), 0), 24*time.Hour)
		}
	}
	return 0
}
