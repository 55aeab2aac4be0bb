package api

import (
	"net/http"
	"strconv"
	"time"
)

// patient asks again when it has read too fast: a listing goes on after 429.
type patient struct{ http.Client }

// Do implements the generated client's interface.
func (p *patient) Do(r *http.Request) (*http.Response, error) {
	for {
		resp, err := p.Client.Do(r)
		if err != nil || r.Method != http.MethodGet || resp.StatusCode != http.StatusTooManyRequests {
			return resp, err
		}
		timer := time.NewTimer(max(RetryAfter(resp.Header, time.Now()), time.Second))
		select {
		case <-timer.C:
			_ = resp.Body.Close() // only read
		case <-r.Context().Done():
			timer.Stop()
			return resp, nil
		}
	}
}

// RetryAfter reads the header of that name: seconds or a date (RFC 9110 §10.2.3).
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return at.Sub(now)
	}
	return 0
}
