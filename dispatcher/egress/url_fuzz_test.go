package egress

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// uri is an https URI as RFC 3986 has it, without userinfo and fragment; its
// groups are host, port, path and query.
var uri = regexp.MustCompile(`^(?i:https)://` +
	`(\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(:[0-9]+)?` +
	`((?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*)` +
	`(\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?$`)

// FuzzCheckURL: what is accepted is a URI by the grammar, in which the grammar
// and net/url see the same host and port; that is what is dialled, named to TLS
// and written as Host; and the request line asks for just what stands after it.
// An address is in none of the ranges that matter most.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://example.com", "HTTPS://Example.COM.:8443/a%20b;c=d//?x=%5B1%5D&y=a/b?c", "https://8.8.8.8/", "https://[2606:4700::1111]:443/x",
		"https://example.com?x", "https://example.com/..;/./../%2e%2e/", "https://127.0.0.1/", "https://0x7f.1/", "https://user@example.com/",
		"https://[::ffff:127.0.0.1]/", "https://[fe80::1%25eth0]/", "https://example.com:/", "https://a_b.example/~!$&'()*+,;=:@", "https://h.example/[1]",
		"https://xn--bcher-kva.example/", "https://example.com\\@127.0.0.1/", "https://example.com/?%zz", "https:example.com", "https://1.2.3/",
		"HTTPS://Example.COM.:443/%2f", "https://@h/", "https://127.1/", "https://a%2eb.com/", "https://[::1%25lo]/", "https://localhost/",
		"https://a.b/../c", "https://example.com//x", "https:///x", "https://a.b?",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if CheckURL(raw, Destinations{}) != nil {
			return
		}
		parts := uri.FindStringSubmatch(raw)
		if parts == nil {
			t.Fatalf("%q was accepted, but is no https URI of RFC 3986", raw)
		}
		host, port, path, query := parts[1], parts[2], parts[3], parts[4]
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("%q was accepted, but cannot be parsed again: %v", raw, err)
		}
		if u.Hostname() != strings.Trim(host, "[]") || u.Port() != strings.TrimPrefix(port, ":") {
			t.Errorf("%q: url.Parse sees host %q and port %q, want %q and %q", raw, u.Hostname(), u.Port(), host, port)
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil && (!addr.IsGlobalUnicast() || addr.IsPrivate() || addr.Unmap().IsPrivate()) {
			t.Errorf("%q was accepted, but %v is not a public address", raw, addr)
		}
		asked := path + query
		if path == "" {
			asked = "/" + query
		}
		name := strings.TrimSuffix(strings.ToLower(host), ".")
		number, _ := strconv.Atoi(cmp.Or(u.Port(), "443"))
		if u, err = target(raw); err != nil {
			t.Fatalf("%q was accepted, but cannot be called: %v", raw, err)
		}
		if want := fmt.Sprint(name, ":", number); hostPort(u) != want {
			t.Errorf("%q: %s is dialled, want %s", raw, hostPort(u), want)
		}
		host = name
		if number != 443 {
			host = fmt.Sprint(name, ":", number)
		}
		sent, err := appendRequest(nil, u, &Request{})
		want := "POST " + asked + " HTTP/1.1\r\nHost: " + host + "\r\nAccept: */*\r\nAccept-Encoding: identity\r\nContent-Length: 0\r\n\r\n"
		if err != nil || string(sent) != want {
			t.Errorf("%q: %q is sent (%v), want %q", raw, sent, err, want)
		}
		wantReadAlike(t, sent, asked, host)
	})
}

// wantReadAlike fails the test unless a server reads one request, for that
// target and host.
func wantReadAlike(t *testing.T, sent []byte, target, host string) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(sent))
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("%q cannot be read: %v", sent, err)
	}
	if r.RequestURI != target || r.Host != host || len(r.Header) != 3 || in.Buffered() > 0 {
		t.Errorf("%q is read as %s of %s with %v and %d bytes more, want %s of %s and no more", sent, r.RequestURI, r.Host, r.Header, in.Buffered(), target, host)
	}
}
