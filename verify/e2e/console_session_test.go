package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestConsoleReason: the reason that the platform has entered goes with it from page to page and
// into an account, is what the log gets, and is no more when it has been taken away.
func TestConsoleReason(t *testing.T) {
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"), "--log-level", "info")
	c := &console{svc: svc, keys: map[string]string{}}
	svc.account("one")
	svc.account("two")
	c.browser = newBrowser(t)
	c.show("", "en", "/accounts")
	c.fill(".reason input", "ticket 17")
	reads := func(want string) { c.js(fmt.Sprintf(`document.querySelector('.reason input').value === %q`, want)) }
	for _, step := range []struct{ press, says string }{
		{"Now", "The oldest due event"},
		{"Accounts", "two"},
		{"one", "Receive your first callback"},
		{"← Accounts", "two"},
	} {
		c.press(step.press)
		c.says(step.says)
		reads("ticket 17")
	}
	c.press("Link")
	c.says("Copy the link")
	wantLine(t, svc, `msg="console link made"`, "operation=createConsoleLink", `reason="ticket 17"`)
	c.js(`(document.querySelector('.reason input').select(), true)`)
	c.do("take the reason away", chromedp.KeyEvent("\b"))
	c.press("Now")
	c.says("The oldest due event")
	reads("")
	c.press("Accounts")
	c.says("two")
	c.js(`(document.querySelector('[aria-label="Erase two"]').click(), true)`)
	c.fill(`details[open] input`, "two")
	c.press("Erase")
	c.says("Erased")
	if line := wantLine(t, svc, `msg="account erased"`, "account=two"); strings.Contains(line, "reason=") {
		t.Errorf("log: %s; want no reason", line)
	}
	c.wantClean()
}

// wantLine is the line of the log that has these texts.
func wantLine(t *testing.T, svc *service, texts ...string) (line string) {
	t.Helper()
	eventually(t, "a line of the log with "+strings.Join(texts, ", "), func() bool {
		for line = range strings.Lines(svc.log.String()) {
			has := true
			for _, text := range texts {
				has = has && strings.Contains(line, text)
			}
			if has {
				return true
			}
		}
		return false
	})
	return line
}

// TestConsoleSignsOut: who goes back after the sign-out finds nothing of what was shown, also if
// the browser has kept the page as it was, and the last address with its filters is gone.
func TestConsoleSignsOut(t *testing.T) {
	c := newFixedConsole(t, build(t, false), "answers.json")
	c.t = t
	c.show("ill", "en", "/status")
	c.says("your server failed with 503")
	c.js(`window.kept = true`)
	c.press("Italiano")
	c.says("il tuo server ha fallito con 503")
	c.js(`(history.back(), true)`)
	c.says("your server failed with 503")
	c.js(`window.kept`) // the browser keeps pages, and this one may be shown: the session is the same
	c.press("Italiano")
	c.says("il tuo server ha fallito con 503")
	c.js(`(location.hash = '#/callbacks?q=%2B393401234567', true)`)
	c.says("own-ill-3")
	before := c.text(`String(history.length)`)
	c.press("Esci")
	c.says("Guarda che fine hanno fatto i tuoi callback")
	c.js(`location.hash === '' && sessionStorage.length === 0`)
	if after := c.text(`String(history.length)`); after != before {
		t.Errorf("%s addresses after the sign-out, want the %s of before: the last one has its filters", after, before)
	}
	c.js(`(history.go(-2), true)`)
	c.says("See what became of your callbacks")
	c.js(`!window.kept && !document.body.innerText.includes('503')`)
}
