package e2e

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// walkKeys: the keyboard alone signs in, opens a page, filters it, reads why a callback did not
// arrive, goes on to another page and signs out. Nothing is clicked, and no script moves the focus.
func walkKeys(t *testing.T, bin string) {
	c := newConsole(t, bin)
	c.t = t
	c.do("open the console", chromedp.Navigate(c.svc.url+"/console?lang=en"))
	c.settle()
	c.strikes(kb.Tab)
	c.js(`document.activeElement.innerText === 'Skip to the content'`)
	c.tabsTo(`at.type === 'password'`)
	c.strikes(c.keys["ill"] + kb.Enter)
	c.says("your server failed with 503")

	c.tabsTo(`at.closest('nav') && at.innerText === 'Callbacks'`)
	c.strikes(kb.Enter)
	c.says("own-ill-3")
	c.tabsTo(`at.closest('label')?.innerText.startsWith('Channel')`)
	c.strikes(kb.ArrowDown)
	c.js(`location.hash.includes('channel=SMS')`)
	c.says("Nothing passes these filters.")
	c.strikes(kb.ArrowDown)
	c.js(`location.hash.includes('channel=RCS')`)
	c.says("own-ill-3")

	c.tabsTo(`at.closest('.message')?.dataset.id.startsWith('m-5') && at.tagName === 'A'`)
	c.strikes(kb.Enter)
	c.says("It has not arrived because your server failed with 503.", "own-ill-5")
	c.js(`document.activeElement.closest('dialog')`)
	for range 30 { // more than there are in it
		c.strikes(kb.Tab)
		c.js(`document.activeElement.closest('dialog') || document.activeElement === document.body`)
	}
	c.strikes(kb.Escape)
	c.js(`!document.querySelector('dialog') && !location.hash.includes('event=')`)
	c.js(`document.activeElement.closest('.message')?.dataset.id.startsWith('m-5') && document.activeElement.tagName === 'A'`)

	c.tabsTo(`at.closest('nav') && at.innerText === 'Set up'`, chromedp.KeyModifiers(chromedp.ModifierShift))
	c.strikes(kb.Enter)
	c.says("Verify code")
	c.tabsTo(`at.closest('[aria-label="Verify code"]') && at.innerText === 'Python'`)
	c.strikes(" ")
	c.says("pip install standardwebhooks")
	c.wantClean()
	c.tabsTo(`at.innerText === 'Sign out'`)
	c.strikes(kb.Enter)
	c.says("See what became of your callbacks")
}

// strikes presses keys, one after the other. The browser gives them to what has the focus.
func (c *console) strikes(keys string, how ...chromedp.KeyOption) {
	c.t.Helper()
	c.do(fmt.Sprintf("press %q", keys), chromedp.KeyEvent(keys, how...))
}

// tabsTo presses Tab until an expression is true of what has the focus, which is to be seen.
func (c *console) tabsTo(expression string, how ...chromedp.KeyOption) {
	c.t.Helper()
	const most = 100
	for range most {
		c.strikes(kb.Tab, how...)
		is, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool](`Boolean((at => `+expression+`)(document.activeElement))`))
		if err != nil {
			c.t.Fatalf("%s: %v", expression, err)
		}
		if is {
			c.js(`getComputedStyle(document.activeElement).outlineStyle !== 'none' && document.activeElement.checkVisibility()`)
			return
		}
	}
	c.t.Fatalf("%d times Tab lead to nothing of which this is true: %s; the focus is on %s", most, expression, c.text(`document.activeElement.outerHTML`))
}
