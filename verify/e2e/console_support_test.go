package e2e

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// walkSupport: who supports the accounts has signed in with the platform key, knows an account and
// the id of a message, and reads why that has not arrived after four clicks at most.
func walkSupport(t *testing.T, bin string) {
	c := newConsole(t, bin)
	c.t = t
	c.do("open the console", chromedp.Navigate(c.svc.url+"/console?lang=en"))
	c.settle()
	c.press("Platform")
	c.fill("input[type=password]", platformKey)
	c.do("enter", chromedp.KeyEvent("\r"))
	c.says("The oldest due event of a healthy endpoint") // the first page
	c.js(`(addEventListener('click', () => (window.clicks = (window.clicks ?? 0) + 1), true), true)`)
	c.press("Accounts")
	c.fill("input[type=search]", "il")
	c.do("search", chromedp.KeyEvent("\r"))
	c.js(`document.querySelectorAll('.accounts > li').length === 1`)
	c.press("ill")
	c.says("your server failed with 503")
	c.press("See the callbacks")
	c.fill("input[type=search]", "m-7"+hostileText)
	c.do("search", chromedp.KeyEvent("\r"))
	c.says("1 message found")
	c.js(`(document.querySelector('.message a').click(), true)`)
	c.js(`document.querySelector('dialog .says')?.innerText.startsWith('It has not arrived because your server failed with 503.')`)
	c.js(`document.querySelector('dialog .facts').innerText.includes('own-ill-7')`)
	if clicks, err := chromedp.Run(c.ctx, chromedp.Evaluate[int](`window.clicks`)); err != nil || clicks > 4 {
		t.Errorf("%d clicks (%v) led to why the message has not arrived, want four at most", clicks, err)
	}
	c.wantClean()
}
