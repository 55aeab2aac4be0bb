package egress

import (
	"net"
	"net/http"
	"time"
)

// Plain returns a client for what the operator names himself, such as his collector of
// traces. No account can have it call anything, so that there is no guard. It follows no
// redirect, and goes by no proxy.
func Plain(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:     (&net.Dialer{Timeout: timeout / 2}).DialContext,
			MaxIdleConns:    1,
			IdleConnTimeout: 45 * time.Second,
		},
	}
}
