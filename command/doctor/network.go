package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// renewal is how long before its end a certificate is to be renewed.
const renewal = 14 * 24 * time.Hour

// authorities looks whether there are any, and whether certificates are to end.
func authorities(cfg Config, now time.Time) (found []Finding) {
	const check = "authorities"
	if cfg.Authorities.Equal(x509.NewCertPool()) {
		found = append(found, failure(check, "this machine knows no certificate authority: every callback fails", "install the authorities (ca-certificates), or give --callback-ca"))
	}
	for _, c := range cfg.Added {
		found = append(found, ending(check, "the authority "+c.Subject.String()+" in the file of --callback-ca", c, now))
	}
	if cfg.Certificate != nil {
		found = append(found, ending("certificate", "the certificate of the API (--tls-cert)", cfg.Certificate.Leaf, now))
	}
	if found = together(found); len(found) == 0 {
		return []Finding{ok(check, "there are some, and no certificate ends soon")}
	}
	return found
}

func ending(check, what string, c *x509.Certificate, now time.Time) Finding {
	switch end := c.NotAfter.UTC().Format(time.DateOnly); {
	case now.After(c.NotAfter):
		return failure(check, fmt.Sprintf("%s has expired on %s", what, end), "put a new one in its file, and reload the service (SIGHUP)")
	case now.Before(c.NotBefore):
		return failure(check, fmt.Sprintf("%s is valid from %s on", what, c.NotBefore.UTC().Format(time.RFC3339)), "look at the clock; wait, or put another one in its file")
	case now.Add(renewal).After(c.NotAfter):
		return warning(check, fmt.Sprintf("%s expires on %s", what, end), "put a new one in its file, and reload the service (SIGHUP)")
	}
	return Finding{}
}

// searchList tells what does not apply to callbacks.
func searchList() []Finding {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil // another system, or the default: a resolver on this machine
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && (f[0] == "search" || f[0] == "domain") {
			return []Finding{ok("search list", strings.Join(f[1:], " ")+": callbacks do not use it, a host is looked up as it stands in the URL")}
		}
	}
	return nil
}

const (
	lookUpSlow = time.Second
	lookUpMost = 5 * time.Second // as for a callback
)

// lookUp looks a name up, as for a callback.
func lookUp(ctx context.Context, name string) Finding {
	const check, do = "DNS", "look at the resolver that /etc/resolv.conf names: each new connection to an endpoint waits for it, 5 s at most"
	if _, err := netip.ParseAddr(name); err == nil {
		return ok(check, name+" is an address: nothing is looked up")
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpMost)
	defer cancel()
	began := time.Now()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", strings.TrimSuffix(name, ".")+".")
	took := time.Since(began).Round(time.Millisecond)
	missing, _ := errors.AsType[*net.DNSError](err)
	switch {
	case missing != nil && missing.IsNotFound:
		return warning(check, fmt.Sprintf("the resolver says, after %v, that there is no %s", took, name), "try the host of an endpoint (--lookup), or look at the resolver that /etc/resolv.conf names")
	case err != nil:
		return failure(check, fmt.Sprintf("%s is not found: %v", name, err), do)
	case took > lookUpSlow:
		return warning(check, fmt.Sprintf("%s has %d addresses, which took %v", name, len(addrs), took), do)
	}
	return ok(check, fmt.Sprintf("%s has %d addresses, which took %v", name, len(addrs), took))
}

// way looks from which address callbacks leave this machine. Nothing is sent: the kernel
// chooses the address when it is told the destination.
func way() Finding {
	const check = "egress"
	var from []string
	private := false
	for _, to := range []string{"198.51.100.1:443", "[2001:db8::1]:443"} { // documentation addresses (RFC 5737, RFC 3849)
		c, err := net.Dial("udp", to)
		if err != nil {
			continue // no route
		}
		addr, err := netip.ParseAddrPort(c.LocalAddr().String())
		_ = c.Close() // nothing was sent
		if err == nil && !addr.Addr().IsLoopback() {
			from = append(from, addr.Addr().String())
			private = private || addr.Addr().IsPrivate()
		}
	}
	switch {
	case from == nil:
		return warning(check, "this machine has no route to the Internet", "look at its network: callbacks reach private networks alone (--allow-network)")
	case private:
		return ok(check, "callbacks leave from "+strings.Join(from, " and ")+", which is private: receivers see another address, that of a NAT")
	}
	return ok(check, "callbacks leave from "+strings.Join(from, " and "))
}
