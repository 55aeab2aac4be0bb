package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestConsoleIncidents: failures that share something are one incident, which knows what that is.
func TestConsoleIncidents(t *testing.T) {
	c := newFixedConsole(t, build(t, false), "answers.json")
	c.t = t
	c.show("", "en", "/errors")
	const timeout, unknown = "CONNECT_FAILED CONNECT_TIMEOUT", "TLS_FAILED CERTIFICATE_UNKNOWN_AUTHORITY"
	const here, there, beyond = "192.0.2.1:443", "192.0.2.2:443", "192.0.2.3:443"
	for _, tt := range []struct {
		name   string
		failed []failed
		want   string // each incident: what they share, and the accounts
	}{
		{"one is alone", []failed{{"a", "x", timeout, here, 0}}, "one a"},
		{"accounts of one host", []failed{{"a", "x", timeout, here, 0}, {"b", "x", timeout, here, 60}}, "host a b"},
		{"one host with two addresses", []failed{{"a", "x", timeout, here, 0}, {"b", "x", timeout, there, 60}}, "host a b"},
		{"hosts with one address", []failed{{"a", "x", timeout, here, 0}, {"b", "y", timeout, here, 60}, {"c", "y", timeout, here, 90}}, "address a b c"},
		{"a host with two addresses stays whole", []failed{{"a", "x", timeout, here, 0}, {"b", "x", timeout, there, 0}, {"c", "y", timeout, here, 0}}, "host a b, one c"},
		{"one address, unlike failures", []failed{{"a", "x", timeout, here, 0}, {"b", "y", "HTTP_STATUS", here, 0}}, "one a, one b"},
		{"no address is none that they share", []failed{{"a", "x", timeout, "", 0}, {"b", "y", timeout, "", 60}}, "one a, one b"},
		{"an authority that is not known", []failed{{"a", "x", unknown, here, 0}, {"b", "y", unknown, there, 60}, {"c", "y", unknown, beyond, 60}}, "authority a b c"},
		{"an authority that is not known at one host", []failed{{"a", "x", unknown, here, 0}, {"b", "x", unknown, here, 0}}, "host a b"},
		{"since about the same time", []failed{{"a", "x", timeout, here, 0}, {"b", "y", timeout, there, 5}, {"c", "z", timeout, beyond, 30}}, "one c, time a b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var accounts []map[string]any
			for _, f := range tt.failed {
				accounts = append(accounts, f.account())
			}
			given, err := json.Marshal(accounts)
			if err != nil {
				t.Fatal(err)
			}
			found, err := chromedp.Run(c.ctx, chromedp.Evaluate[[]string](fmt.Sprintf(`import(new URL('incidents.js', document.querySelector('script[type=module]').src))
				.then(m => m.incidents(%s).map(i => [i.by, ...i.accounts.map(a => a.id)].join(' ')))`, given), chromedp.EvalAwaitPromise))
			if got := strings.Join(slices.Sorted(slices.Values(found)), ", "); err != nil || got != tt.want {
				t.Errorf("incidents %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

// failed is an account whose endpoint fails since some minute, and how.
type failed struct {
	id, host, kind, address string
	since                   int
}

func (f failed) account() map[string]any {
	kind, detail, _ := strings.Cut(f.kind, " ")
	last := map[string]any{"error": kind}
	if detail != "" {
		last["detail"] = detail
	}
	if f.address != "" {
		last["address"] = f.address
	}
	since := time.Date(2026, 11, 20, 9, f.since, 0, 0, time.UTC)
	return map[string]any{"id": f.id, "callbackHost": f.host, "since": since, "createdAt": since, "pending": 0, "lastFailure": last}
}
