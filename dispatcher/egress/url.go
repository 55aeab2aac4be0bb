package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxURL is in characters; common servers take no more.
const maxURL = 2048

// CheckURL returns why raw may not be a callback URL, or nil. The text is one
// sentence for the caller. It is refused by the operator's rules as well. The
// address of a name is not checked here, but each time it is dialled.
func CheckURL(raw string, to Destinations) error {
	if err := checkText(raw); err != nil {
		return err
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("it is not a valid URL")
	case u.Scheme != "https":
		return errors.New("it must begin with https://")
	case u.Opaque != "" || u.Host == "":
		return errors.New("it must be absolute and name a host, as in https://example.com/status")
	case u.User != nil:
		return errors.New("it must not contain a user name or password")
	}
	if err := checkPort(u, &to); err != nil {
		return err
	}
	if err := checkRest(u); err != nil {
		return err
	}
	return checkHost(u.Hostname(), strings.HasPrefix(u.Host, "["), to)
}

func checkText(raw string) error {
	if raw == "" {
		return errors.New("it must not be empty")
	}
	if len(raw) > maxURL {
		return fmt.Errorf("it must have at most %d characters", maxURL)
	}
	for _, r := range raw {
		switch {
		case r > '~':
			return errors.New("it must be ASCII: percent-encode the path, and give the host in its A-label form (xn--…)")
		case r <= ' ', r == '\\', r == '"', r == '<', r == '>', r == '^', r == '`', r == '{', r == '|', r == '}':
			return fmt.Errorf("it must not contain %q: percent-encode it", r)
		case r == '#':
			return errors.New("it must not have a fragment (#…)")
		}
	}
	return nil
}

// checkRest refuses what [url.Parse] accepts after the host although RFC 3986
// does not. Clients that parse URLs strictly could not read it back.
func checkRest(u *url.URL) error {
	if strings.ContainsAny(u.EscapedPath()+u.RawQuery, "[]") {
		return errors.New("it must not contain '[' or ']' after the host: percent-encode them")
	}
	if _, err := url.QueryUnescape(u.RawQuery); err != nil {
		return errors.New("its query must have two hexadecimal digits after every %")
	}
	return nil
}

func checkPort(u *url.URL, to *Destinations) error {
	host := u.Host
	if !strings.HasSuffix(host, "]") && strings.Contains(host[strings.LastIndex(host, "]")+1:], ":") {
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || port == 0 {
			return errors.New("its port must be 1 to 65535, or left out with its colon")
		}
	}
	if !to.takes(port(u)) {
		return fmt.Errorf("its port %d is not one that this service calls (%s)", port(u), strings.Trim(fmt.Sprint(to.Ports), "[]"))
	}
	return nil
}

func checkHost(host string, bracketed bool, to Destinations) error {
	if bracketed {
		addr, err := netip.ParseAddr(host)
		if err != nil || !addr.Is6() {
			return errors.New("its host is not a valid IPv6 address")
		}
		if addr.Zone() != "" {
			return errors.New("its IPv6 address must not have a zone")
		}
		return checkAddr(addr, to)
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
		return checkAddr(addr, to)
	}
	return checkName(host, to)
}

func checkAddr(addr netip.Addr, to Destinations) error {
	if contain(to.Deny, addr.Unmap()) {
		return errors.New("its address is in a network that this service does not call")
	}
	if !newGuard(to).public(addr) {
		return errors.New("its address is not a public one")
	}
	return nil
}

// privateSuffixes never resolve in the public DNS: special-use names (RFC 6761,
// RFC 6762, RFC 7686, RFC 8375, ICANN's .internal) and the names that routers
// and offices made common. Left out of
// RFC 6761 are .example, which documents use, and .test, which networks opened
// by --allow-network do.
var privateSuffixes = []string{
	"localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "home.arpa",
	"lan", "invalid", "onion",
}

var loopback4 = netip.MustParseAddr("127.0.0.1")

func checkName(host string, to Destinations) error {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	labels := strings.Split(name, ".")
	if len(name) > 253 {
		return errors.New("its host name must have at most 253 characters")
	}
	for _, label := range labels {
		if !validLabel(label) {
			return fmt.Errorf("its host %q is not a valid DNS name", host)
		}
	}
	last := labels[len(labels)-1]
	if last == "localhost" && (newGuard(to).public(loopback4) || newGuard(to).public(netip.IPv6Loopback())) {
		return nil
	}
	switch {
	case numeric(last):
		return errors.New("its host looks like an IP address but is not one in the usual form")
	case len(labels) == 1:
		return fmt.Errorf("its host %q must be a full DNS name, as in status.example.com", host)
	}
	for _, suffix := range privateSuffixes {
		if name == suffix || strings.HasSuffix(name, "."+suffix) {
			return fmt.Errorf("its host ends with .%s, which does not exist on the public Internet", suffix)
		}
	}
	return nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// numeric reports whether some resolvers would read a host that ends with this
// label as an IPv4 address (WHATWG URL, "ends in a number").
func numeric(label string) bool {
	if strings.Trim(label, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(label, "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}

var errNotCallable = errors.New("not a URL that can be called")

// target is a callback URL as it is called: whatever its spelling, a host has one
// name in the pool, in TLS and in the request, in lower case, without the dot at
// its end and without the default port.
func target(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" {
		return nil, errNotCallable
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if host == "" {
		return nil, errNotCallable
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if p := port(u); p != defaultPort {
		host += ":" + strconv.Itoa(int(p))
	}
	u.Host = host
	return u, nil
}

const defaultPort = 443

// port is that of a URL that was parsed; it is checked where it is registered.
func port(u *url.URL) uint16 {
	if p, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(p)
	}
	return defaultPort
}

// hostPort names a target's host in the pool.
func hostPort(u *url.URL) string {
	return net.JoinHostPort(u.Hostname(), strconv.Itoa(int(port(u))))
}
