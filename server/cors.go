package server

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Cross-origin access (https://fetch.spec.whatwg.org/#http-cors-protocol). Keys
// travel in headers of their own, so credentials (cookies) are not allowed.
const (
	corsMethods  = "GET, HEAD, POST, PUT, DELETE"
	corsRequest  = "Authorization, Content-Type, If-None-Match, X-API-Key, X-Account-Id, X-Reason, X-Request-Id"
	corsResponse = "Allow, ETag, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id"
	corsMaxAge   = "7200" // seconds; browsers keep a preflight no longer
)

// allowOrigin lets pages of the configured origins read the answer. The router
// answers a preflight like any OPTIONS.
func allowOrigin(origins []string, h http.Header, r *http.Request) {
	if len(origins) == 0 {
		return
	}
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case origin == "":
		return
	case slices.Contains(origins, "*"):
		origin = "*"
	case !slices.Contains(origins, origin):
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		h.Set("Access-Control-Expose-Headers", corsResponse)
		return
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsRequest)
	h.Set("Access-Control-Max-Age", corsMaxAge)
}

// CheckAncestor returns what is wrong with an origin of [Config.ConsoleAncestors].
func CheckAncestor(origin string) error {
	if origin == "*" || strings.ContainsAny(origin, "; ,") {
		return fmt.Errorf("%q: want scheme://host[:port]: any page in a frame could be made to look like another", origin)
	}
	return CheckOrigin(origin)
}

// CheckOrigin returns what is wrong with an origin of [Config.CORSOrigins].
// Right are "*" and what a browser would send.
func CheckOrigin(origin string) error {
	if origin == "*" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Contains(u.Host, "*") || origin != u.Scheme+"://"+u.Host {
		return fmt.Errorf("%q: want scheme://host[:port], or * for any", origin)
	}
	return nil
}
