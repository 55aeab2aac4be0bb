package egress

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Proxy is a forward proxy of the operator's, by which all requests go.
type Proxy struct {
	scheme  string // http, https or socks5
	address string // host and port
	user    *url.Userinfo
	// Resolves: the proxy looks endpoints' names up, and has to refuse what is not
	// public: only an address that stands in the URL, and the port, are checked here.
	// Otherwise names are looked up here, and the proxy is told the address that was
	// checked.
	Resolves bool
}

// proxySchemes are how proxies are spoken to: CONNECT in HTTP/1.1, with and without
// TLS, and SOCKS 5 (RFC 1928, RFC 1929).
var proxySchemes = []string{"http", "https", "socks5"}

// ParseProxy reads a proxy's URL, with a user and a password or without. No error
// repeats it.
func ParseProxy(raw string) (*Proxy, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("is not a URL such as http://proxy.example.com:3128; percent-encode what is special in user and password")
	case u.Scheme == "socks5h":
		return nil, errors.New("must begin with socks5://; --egress-proxy-resolves says that the proxy looks names up")
	case !slices.Contains(proxySchemes, u.Scheme):
		return nil, errors.New("must begin with http://, https:// or socks5://")
	case u.Hostname() == "" || !isPort(u.Port()):
		return nil, errors.New("must name a host and a port, as in http://proxy.example.com:3128")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("must have nothing behind its port")
	}
	if err := checkUser(u); err != nil {
		return nil, err
	}
	return &Proxy{scheme: u.Scheme, address: net.JoinHostPort(u.Hostname(), u.Port()), user: u.User}, nil
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

// maxCredential is the longest user or password of SOCKS 5, in bytes.
const maxCredential = 255

func checkUser(u *url.URL) error {
	password, given := u.User.Password()
	switch name := u.User.Username(); {
	case u.User == nil:
		return nil
	case name == "" || !given:
		return errors.New("must have both a user and a password, or neither")
	case len(name) > maxCredential || len(password) > maxCredential:
		return fmt.Errorf("must have a user and a password of at most %d bytes", maxCredential)
	case u.Scheme != "socks5" && strings.Contains(name, ":"):
		return errors.New("must have a user without a colon: HTTP has no way to say one")
	}
	return nil
}

// String is the URL without user and password.
func (p *Proxy) String() string { return p.scheme + "://" + p.address }

// host is for the proxy's own certificate.
func (p *Proxy) host() string {
	host, _, _ := net.SplitHostPort(p.address)
	return host
}

// wayError: the operator's way out failed, the proxy or a source address. No endpoint
// has a part in it.
type wayError struct {
	why string
	err error // nil: why says all
}

func (e *wayError) Error() string {
	if e.err == nil {
		return e.why
	}
	return e.why + ": " + e.err.Error()
}

func (e *wayError) Unwrap() error { return e.err }

// toldError is what a proxy said of an endpoint, or that it said nothing in time.
type toldError struct {
	kind   Kind
	detail Detail
	why    string
}

func (e *toldError) Error() string { return e.why }
