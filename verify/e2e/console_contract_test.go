//go:build contract

package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestContractConsole holds the modules of the console against the types of openapi.yaml,
// lints them and looks at their form.
func TestContractConsole(t *testing.T) {
	tool := func(dir, name string, args ...string) {
		t.Helper()
		run(t, dir, nil, tools+"/node_modules/.bin/"+name, args...)
	}
	tool(".", "openapi-typescript", "openapi.yaml", "-o", tools+"/console-api.d.ts")
	tool("server/console", "tsc", "-p", ".")
	tool("server/console", "eslint", ".")
	tool("server/console", "prettier", "--check", "app/*.js", "app/*.css", "*.js")
}

// TestContractConsoleAccessible: axe finds nothing on any page, in each language, in light and
// dark, wide and on a phone.
func TestContractConsoleAccessible(t *testing.T) {
	axe, err := os.ReadFile(tools + "/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	bin := build(t, false)
	for _, as := range []struct {
		lang, scheme string
		width        int64
	}{{"en", "light", 1440}, {"en", "dark", 390}, {"it", "dark", 1440}, {"it", "light", 390}} {
		c := newConsole(t, bin)
		for _, p := range consolePages {
			t.Run(fmt.Sprintf("%s %s %s %d", p.name, as.lang, as.scheme, as.width), func(t *testing.T) {
				c.t = t
				c.prefer(as.scheme)
				c.do("set the width", chromedp.EmulateViewport(as.width, 900))
				c.show(p.account, as.lang, p.at)
				c.says(map[string]string{"en": p.english, "it": p.italian}[as.lang])
				if _, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool](string(axe)+";true")); err != nil {
					t.Fatal(err)
				}
				found, err := chromedp.Run(c.ctx, chromedp.Evaluate[[]string](`axe.run().then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ': ' + n.html + ' ' + n.failureSummary)))`, chromedp.EvalAwaitPromise))
				if err != nil || len(found) > 0 {
					t.Errorf("axe: %v %q", err, found)
				}
			})
		}
	}
}
