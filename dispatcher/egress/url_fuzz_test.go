package egress_test

import (
	"bytes"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/recapito/recapito/dispatcher/egress"
)

// uri is an https URI as RFC 3986 has it, without userinfo and fragment; its
// groups are host, port, path and query.
var uri = regexp.MustCompile(`^(?i:https)://` +
	`(\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(:[0-9]+)?` +
	`((?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*)` +
	`(\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?$`)

// FuzzCheckURL: what is accepted is a URI by the grammar, in which the grammar
// and net/url see the same host and port; the request that net/http makes of it
// goes there and asks for just what stands after the host. An address is in
// none of the ranges that matter most.
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
		if egress.CheckURL(raw, nil) != nil {
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
		target := path + query
		if path == "" {
			target = "/" + query
		}
		if line, to := requestLine(t, raw); line != "POST "+target+" HTTP/1.1" || to != host+port {
			t.Errorf("%q: net/http sends %q to %q, want %q to %q", raw, line, to, "POST "+target+" HTTP/1.1", host+port)
		}
	})
}

// requestLine is what net/http would send: the first line, and the Host.
func requestLine(t *testing.T, raw string) (line, host string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	var sent bytes.Buffer
	if err := r.Write(&sent); err != nil {
		t.Fatalf("%q cannot be sent: %v", raw, err)
	}
	lines := strings.Split(sent.String(), "\r\n")
	return lines[0], strings.TrimPrefix(lines[1], "Host: ")
}
