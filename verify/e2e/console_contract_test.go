//go:build contract

package e2e

import (
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

// TestContractConsoleAccessible: axe finds nothing on any page, in light and dark.
func TestContractConsoleAccessible(t *testing.T) {
	axe, err := os.ReadFile(tools + "/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	c := newConsole(t, build(t, false))
	for _, p := range consolePages {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(p.name+" "+scheme, func(t *testing.T) {
				c.t = t
				c.prefer(scheme)
				c.show(p.account, "en", p.at)
				c.says(p.english)
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
