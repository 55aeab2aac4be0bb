package egress_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/recapito/recapito/dispatcher/egress"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// long returns an acceptable URL of n characters.
func long(n int) string {
	const start = "https://example.com/"
	return start + strings.Repeat("a", n-len(start))
}

func TestCheckURLAccepts(t *testing.T) {
	for _, raw := range []string{
		"https://example.com",
		"https://example.com/",
		"HTTPS://EXAMPLE.com/Status",
		"hTTps://example.com/",
		"https://example.com./status",
		"https://example.com?x=1",
		"https://example.com/a%20b?c=%C3%BC&d=%5B1%5D",
		"https://example.com/~me/;a=b,c/@x:y/!$&'()*+=",
		"https://example.com/?redirect=https://user:pw@127.0.0.1/",
		"https://example.com:1/",
		"https://example.com:443/",
		"https://example.com:65535/",
		"https://a.b.c.d.example.co.uk/",
		"https://under_score.example.com/",
		"https://1.2.3.example.com/",
		"https://xn--bcher-kva.example/",
		"https://xn--fiqs8s.xn--fiqs8s/",
		"https://localhost.example.com/",
		"https://mylocalhost.com/",
		"https://internal.example.com/",
		"https://hooks.test/",
		"https://status.example/",
		"https://8.8.8.8/",
		"https://8.8.8.8:8443/status",
		"https://172.32.0.1/",
		"https://[2606:4700:4700::1111]/",
		"https://[2606:4700:4700::1111]:8443/status",
		"https://[2606:4700:4700:0:0:0:0:1111]/",
		"https://[::ffff:8.8.8.8]/",
		long(2048),
	} {
		if err := egress.CheckURL(raw, egress.Destinations{}); err != nil {
			t.Errorf("CheckURL(%.80q) = %v, want nil", raw, err)
		}
	}
}

func TestCheckURLRefuses(t *testing.T) {
	tests := map[string][]string{
		"scheme": {
			"", "http://example.com/", "ftp://example.com/", "example.com", "//example.com/", "/status", "status",
			"https:", "https:x", "https:example.com", "https:/", "https:/example.com", "https://", "https:///", "https:///x",
			"https://?x", "://example.com", "wss://example.com", "file:///etc/passwd", "httpss://example.com", "javascript:alert(1)",
		},
		"text": {
			" https://example.com/", "https://example.com/ ", "https://example.com/a b", "https://exa mple.com/",
			"https://example.com/\t", "https://example.com/\n", "https://example.com/\r\nHost: x", "https://example.com/\x00",
			"https://example.com/\x7f", "https://example.com\\@127.0.0.1/", "https:\\\\example.com\\", "https://example.com/\\",
			"https://example.com/%", "https://example.com/%zz", "https://example.com/%4", "https://example.com/\xff",
			"https://example.com/ü", "https://<b>.example.com/", "https://example.com/#a", "https://example.com/#",
			"https://example.com#", "https://example.com/?a#b",
			"https://example.com/\"", "https://example.com/{id}", long(2049),
			"https://example.com/[1]", "https://example.com/?d=[1]", "https://example.com/?d=]", "https://example.com/?%",
			"https://example.com/?a=%zz", "https://example.com/?a=%4",
		},
		"userinfo": {
			"https://user@example.com/", "https://user:pw@example.com/", "https://:pw@example.com/", "https://@example.com/",
			"https://:@example.com/", "https://a@b@example.com/", "https://@h/", "https://8.8.8.8@127.0.0.1/",
		},
		"port": {
			"https://example.com:0/", "https://example.com:00/", "https://example.com:65536/", "https://example.com:99999999999/",
			"https://example.com:-1/", "https://example.com:+1/", "https://example.com:/", "https://example.com:x/", "https://example.com:80:80/",
			"https://:443/", "https://:/", "https://[2606:4700::1111]:0/", "https://[2606:4700::1111]:65536/", "https://[2606:4700::1111]x/",
		},
		"address": {
			"https://127.0.0.1/", "https://127.0.0.1./", "https://127.0.0.1:8443/", "https://0.0.0.0/", "https://10.0.0.1/",
			"https://172.16.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/", "https://100.64.0.1/",
			"https://168.63.129.16/", "https://224.0.0.1/", "https://255.255.255.255/", "https://198.51.100.1/",
			"https://0x7f.1/", "https://0x7f000001/", "https://0X7F.0.0.1/", "https://0x/", "https://1.0x/", "https://2130706433/",
			"https://017700000001/", "https://0177.0.0.1/", "https://127.1/", "https://127.0.1/", "https://127.1./",
			"https://8.8/", "https://134744072/", "https://256.256.256.256/", "https://8.8.8.8./", "https://08.8.8.8/",
			"https://example.1/", "https://1.2.3.4.5/", "https://foo.0x7f/",
			"https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/",
			"https://[64:ff9b::7f00:1]/", "https://[64:ff9b::8.8.8.8]/", "https://[2002:7f00:1::]/", "https://[2001::1]/",
			"https://[fe80::1]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/", "https://[ff02::1]/", "https://[2001:db8::1]/",
			"https://[fe80::1%25eth0]/", "https://[2606:4700:4700::1111%25eth0]/", "https://[2606:4700:4700::1111%eth0]/",
			"https://[8.8.8.8]/", "https://[example.com]/", "https://[]/", "https://[::1/", "https://::1/", "https://2606:4700::1111/",
			"https://[v1.fe80]/", "https://[[::1]]/",
		},
		"name": {
			"https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://localhost:8443/", "https://foo.localhost/",
			"https://foo.LocalHost./", "https://localhost.localdomain/", "https://intranet/", "https://h/", "https://com./",
			"https://printer.local/", "https://printer.LOCAL./", "https://vault.internal/", "https://metadata.google.internal/",
			"https://router.lan/", "https://box.home.arpa/", "https://x.corp/", "https://x.home/", "https://x.intranet/",
			"https://x.private/", "https://x.invalid/", "https://x.ONION./", "https://./", "https://../", "https://.example.com/", "https://example..com/",
			"https://example.com../", "https://-a.example.com/", "https://a-.example.com/", "https://a*b.example.com/", "https://*/",
			"https://%31%32%37.0.0.1/", "https://%6cocalhost/", "https://loc%61lhost/", "https://example%2ecom/", "https://127%2e0.0.1/",
			"https://exa%6dple.com/", "https://%65xample.com/", "https://example.com%00.evil.com/", "https://example.com%2f.evil.com/", "https://example.com%20/",
			"https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "https://bücher.example/",
			"https://b%C3%BCcher.example/", "https://a\u00a0b.example/", "https://" + strings.Repeat("a", 64) + ".com/",
			"https://" + strings.Repeat("a.", 126) + "ab/",
		},
	}
	for name, urls := range tests {
		t.Run(name, func(t *testing.T) {
			for _, raw := range urls {
				err := egress.CheckURL(raw, egress.Destinations{})
				if err == nil {
					t.Errorf("CheckURL(%.80q) = nil, want an error", raw)
				} else if strings.ContainsAny(err.Error(), "\n\r\x00") || len(err.Error()) > 400 {
					t.Errorf("CheckURL(%.80q) = %q, want one short line", raw, err)
				}
			}
		})
	}
}

func TestCheckURLOpenedRanges(t *testing.T) {
	six := []netip.Prefix{netip.MustParsePrefix("::1/128")}
	tests := []struct {
		raw   string
		allow []netip.Prefix
		want  bool
	}{
		{"https://127.0.0.1/", loopback, true},
		{"https://127.0.0.1:8443/x", loopback, true},
		{"https://127.255.255.255/", loopback, true},
		{"https://[::ffff:127.0.0.1]/", loopback, true},
		{"https://localhost/", loopback, true},
		{"https://localhost:8443/", loopback, true},
		{"https://localhost/", six, true},
		{"https://[::1]/", six, true},
		{"https://example.com/", loopback, true},
		{"https://[::1]/", loopback, false},
		{"https://127.0.0.1/", six, false},
		{"https://10.0.0.1/", loopback, false},
		{"https://127.1/", loopback, false},
		{"https://2130706433/", loopback, false},
		{"https://intranet/", loopback, false},
		{"https://x.internal/", loopback, false},
		{"http://127.0.0.1/", loopback, false},
		{"https://u@127.0.0.1/", loopback, false},
		{"https://[::1%25lo]/", six, false},
	}
	for _, tt := range tests {
		if err := egress.CheckURL(tt.raw, egress.Destinations{Allow: tt.allow}); (err == nil) != tt.want {
			t.Errorf("CheckURL(%q, %v) = %v, want accepted %t", tt.raw, tt.allow, err, tt.want)
		}
	}
}

func TestCheckURLHeedsTheOperator(t *testing.T) {
	to := egress.Destinations{
		Deny: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.3/32"), netip.MustParsePrefix("8.8.0.0/16"),
			netip.MustParsePrefix("2606:4700:64::/96"), netip.MustParsePrefix("::ffff:9.9.9.0/120"),
		},
		Allow: loopback, Ports: []uint16{443, 8443},
	}
	for raw, want := range map[string]string{
		"https://example.com/": "", "https://example.com:8443/": "", "https://127.0.0.2/": "", "https://8.9.0.1/": "",
		"https://localhost/": "", "https://9.9.8.8/": "", "https://[2606:4700::1]/": "",
		"https://example.com:80/":        "its port 80 is not one that this service calls (443 8443)",
		"https://example.com:65535/":     "its port 65535 is not one that this service calls (443 8443)",
		"https://127.0.0.3/":             "its address is in a network that this service does not call",
		"https://8.8.8.8/":               "its address is in a network that this service does not call",
		"https://[::ffff:8.8.8.8]/":      "its address is in a network that this service does not call",
		"https://9.9.9.9/":               "its address is in a network that this service does not call",
		"https://[2606:4700:64::a00:1]/": "its address is in a network that this service does not call",
	} {
		got := ""
		if err := egress.CheckURL(raw, to); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("CheckURL(%q) = %q, want %q", raw, got, want)
		}
	}
}
