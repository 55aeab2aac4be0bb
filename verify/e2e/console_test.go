package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// A script that an account, a platform or a receiver could choose as any text.
const hostileText = `"><img src=x onerror="owned=1"><script>owned=1</script>`

// console is a service with accounts whose endpoints do in different ways, and a browser
// at its page.
type console struct {
	*browser
	svc      *service
	to       *sink
	keys     map[string]string
	repaired atomic.Bool
}

// newConsole makes the accounts well, ill (503, never repaired by itself), ended (its events are
// given up at once) and empty. All texts that somebody may choose are hostileText.
func newConsole(t *testing.T, bin string) *console {
	t.Helper()
	ca := newAuthority(t)
	to := newSink(t, ca)
	c := &console{to: to, keys: map[string]string{}}
	to.answer = func(account string, w http.ResponseWriter, _ *http.Request) {
		if account == "well" || c.repaired.Load() {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("X-Evil", hostileText)
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("<p>closed</p>" + hostileText))
	}
	c.svc = serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file, "--attempt-timeout", "1m", "--retry-schedule", "100ms", "--retry-horizon", "1h")
	for _, account := range []string{"well", "ill", "ended", "empty"} {
		c.keys[account] = c.svc.account(account)
		if account != "empty" {
			c.svc.register(to, account, c.keys[account])
		}
	}
	var events []string
	for i := range 12 {
		events = append(events, evilEvent("ill", fmt.Sprintf("ill-%d", i), fmt.Sprintf("m-%d%s", i, hostileText)))
	}
	for i := range 8 {
		events = append(events, evilEvent("well", fmt.Sprintf("well-%d", i), fmt.Sprintf("m-%d%s", i/2, hostileText)))
	}
	for i := range 2 {
		events = append(events, evilEvent("ended", fmt.Sprintf("ended-%d", i), fmt.Sprintf("m-%d", i)))
	}
	if code, answer := c.svc.api("POST", "/events", bearer, batch(events)); code != http.StatusAccepted {
		t.Fatalf("POST /events: %d %s", code, answer)
	}
	c.awaits("well", "HEALTHY", 0)
	c.awaits("ill", "PROBING", -1)
	c.awaits("ended", "FAILING", 0)
	c.browser = newBrowser(t)
	return c
}

func evilEvent(account, id, message string) string {
	var e map[string]any
	if err := json.Unmarshal([]byte(event(account, id, message, "DELIVERED")), &e); err != nil {
		panic(err)
	}
	e["customerMessageId"], e["description"] = "own-"+id+hostileText, hostileText
	e["error"] = map[string]any{"code": "OTHER", "permanent": false, "message": hostileText}
	text, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// awaits waits for an account's state, and for as many that wait; -1: for some.
func (c *console) awaits(account, state string, pending int) {
	c.svc.t.Helper()
	eventually(c.svc.t, account+" to be "+state, func() bool {
		var h struct {
			State   string
			Pending int
		}
		_, answer := c.svc.api("GET", hook+"/health", c.keys[account], "")
		return json.Unmarshal(answer, &h) == nil && h.State == state && (h.Pending == pending || pending < 0 && h.Pending > 0)
	})
}

// nobody is who has not signed in.
const nobody = "-"

// show opens a page of the console, signed in as the account, as the platform ("") or as nobody.
func (c *console) show(account, lang, at string) {
	c.t.Helper()
	var who map[string]string
	switch account {
	case nobody:
	case "":
		who = map[string]string{"as": "platform", "key": platformKey}
	default:
		who = map[string]string{"as": "account", "key": c.keys[account]}
	}
	session, err := json.Marshal(who)
	if err != nil {
		c.t.Fatal(err)
	}
	c.do("leave the console", chromedp.Navigate(c.svc.url+"/livez")) // where nothing asks with the key of before
	c.js(fmt.Sprintf(`(sessionStorage.setItem('recapito', %q), true)`, session))
	c.do("open the console", chromedp.Navigate(c.svc.url+"/console?lang="+lang+"#"+at))
	c.settle()
}

// prefer is the reader's choice of light or dark.
func (c *console) prefer(scheme string) {
	c.t.Helper()
	prefer := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(c.ctx, emulation.SetEmulatedMedia, prefer); err != nil {
		c.t.Fatal(err)
	}
}

// js evaluates an expression until it is true. (Poll makes a function of a text, which the
// page's policy refuses.)
func (c *console) js(expression string) {
	c.t.Helper()
	var last error
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		is, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool]("Boolean(("+expression+"))"))
		if is {
			return
		}
		last = err
	}
	text, _ := chromedp.Run(c.ctx, chromedp.Evaluate[string]("document.body.innerText"))
	c.t.Fatalf("%s: %v; complaints %q; the page says:\n%s", expression, last, c.complaints, text)
}

// settle waits until the page has what it shows.
func (c *console) settle() {
	c.t.Helper()
	c.js(`document.readyState === 'complete' && document.querySelector('main h1, main .hero') && !document.querySelector('[role=status]')?.innerText.match(/Loading|Caricamento/)`)
}

// says waits for a text of the page.
func (c *console) says(texts ...string) {
	c.t.Helper()
	for _, text := range texts {
		c.js(fmt.Sprintf(`document.body.innerText.includes(%q)`, text))
	}
}

// press clicks the button or link with this text.
func (c *console) press(text string) {
	c.t.Helper()
	c.js(fmt.Sprintf(`(() => {
		const all = [...document.querySelectorAll('dialog button, dialog a, button, a')]
		const found = all.find(e => e.innerText.trim() === %q && !e.disabled && e.checkVisibility())
		found?.click()
		return found
	})()`, text))
}

// fill puts a text into the field that the selector finds.
func (c *console) fill(field, text string) {
	c.t.Helper()
	c.js(fmt.Sprintf(`document.querySelector(%q)`, field))
	c.enter(field, text)
}

// meant are the complaints that say nothing of the page: an account need not have a webhook, and
// what belongs to it; a search asks for the event of an id; [console.show] leaves for a place where
// nothing is; and a drawer takes the focus from the row that opened it.
var meant = regexp.MustCompile(`status of 404 \(Not Found\) http://[^/]+(/livez|/favicon\.ico|` + hook + `(/health(/(changes|minutes))?|/deliveries/[A-Za-z0-9_-]+)?(\?\S*)?)$` +
	`|^log: info Autofocus processing was blocked`)

// wantClean fails the test if the page complained, but for what is meant and for the answers that
// the walk brings about, each a status and how a path begins ("401 /status"), asked anybody else,
// or made more of a text than that.
func (c *console) wantClean(answers ...string) {
	c.t.Helper()
	c.mu.Lock()
	c.complaints = slices.DeleteFunc(c.complaints, func(complaint string) bool {
		return meant.MatchString(complaint) || slices.ContainsFunc(answers, func(answer string) bool {
			status, path, _ := strings.Cut(answer, " ")
			return strings.Contains(complaint, "status of "+status+" ") && strings.Contains(complaint, " "+c.svc.url+path)
		})
	})
	c.mu.Unlock()
	c.wantQuiet(c.svc.url)
	const elements = `'owned' in window || document.scripts.length !== 1 || document.images.length !== 0 || [...document.links].some(a => a.origin !== location.origin)`
	if made, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool](elements)); err != nil || made {
		c.t.Errorf("a text became a script, an image or a link elsewhere: %v, %v", made, err)
	}
}

// TestConsole walks through the console of the built binary.
func TestConsole(t *testing.T) {
	bin := build(t, false)
	for name, walk := range map[string]func(*testing.T, string){
		"why": walkWhy, "repairs": walkRepairs, "first use": walkFirstUse, "pages": walkPages, "scroll": walkScroll, "platform": walkPlatform,
		"six repairs": walkSixRepairs, "outage": walkOutage, "search": walkSearch, "scripts": walkScripts, "curl": walkCurl, "support": walkSupport, "buttons": walkButtons, "keys": walkKeys,
	} {
		t.Run(name, func(t *testing.T) { walk(t, bin) })
	}
}

// walkWhy: who supports an account finds why a message did not arrive: the search
// and one click after the sign-in, by the keyboard alone, and signs out with nothing left.
func walkWhy(t *testing.T, bin string) {
	c := newConsole(t, bin)
	c.t = t
	c.do("open the console", chromedp.Navigate(c.svc.url+"/console?lang=en"))
	c.settle()
	c.fill("input[type=password]", "rcp_wrong")
	c.do("enter", chromedp.KeyEvent("\r"))
	c.says("This API key is not known here.")
	c.js(`document.querySelector('input[type=password]').select(), true`)
	c.enter("input[type=password]", c.keys["ill"])
	c.do("enter", chromedp.KeyEvent("\r"))
	c.says("your server failed with 503", "none is lost")
	c.press("See the callbacks")
	c.fill("input[type=search]", "own-ill-7"+hostileText)
	c.do("search", chromedp.KeyEvent("\r"))
	c.says("1 message found")
	c.savesFound(1, "ill-7")
	c.js(`(document.querySelector('input[type=search]').select(), true)`)
	c.enter("input[type=search]", "0039 (340) 123-4567")
	c.do("search", chromedp.KeyEvent("\r"))
	c.says("12 messages found")
	c.js(`(document.querySelector('input[type=search]').select(), true)`)
	c.enter("input[type=search]", "own-ill-7"+hostileText)
	c.do("search", chromedp.KeyEvent("\r"))
	c.says("1 message found")
	c.js(`(document.querySelector('.message a').focus(), true)`)
	c.do("enter", chromedp.KeyEvent("\r"))
	c.says("your server failed with 503", "Attempt 1", "closed", hostileText)
	// A button would be pressed by the end of the same Enter.
	c.js(`document.activeElement === document.querySelector('dialog .sheet')`)
	c.checksSignature()
	c.do("close it", chromedp.KeyEvent("\x1b"))
	c.js(`!document.querySelector('dialog')`)
	c.wantClean("401 " + hook + "/deliveries") // the wrong key
	c.press("Sign out")
	c.says("See what became of your callbacks")
	c.js(`sessionStorage.length === 0 && localStorage.length === 0 && document.cookie === ''`)
}

// savesFound saves what a search has found: so many events, of which this is one.
func (c *console) savesFound(events int, one string) {
	c.t.Helper()
	lines := strings.Split(c.saves("CSV"), "\r\n")
	if len(lines) != 1+events || !slices.ContainsFunc(lines[1:], func(line string) bool { return strings.HasPrefix(line, one+",") }) {
		c.t.Errorf("saved %q, want a line for the columns and %d for events, one of them for %s", lines, events, one)
	}
}

// saves presses a button, and returns the text of the file that it makes.
func (c *console) saves(button string) string {
	c.t.Helper()
	c.js(`(() => {
		window.saved = undefined
		URL.createObjectURL = file => {
			file.text().then(text => (window.saved = text))
			return ''
		}
		HTMLAnchorElement.prototype.click = function () { this.download || HTMLElement.prototype.click.call(this) }
		return true
	})()`)
	c.press(button)
	c.js(`window.saved !== undefined`)
	return c.text(`window.saved`)
}

// checksSignature signs what is shown with a secret, and checks that, right and wrong.
func (c *console) checksSignature() {
	c.t.Helper()
	const secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDcBJRdOPzaBE="
	c.js(`(document.querySelector('details.check').open = true)`)
	c.fill("details.check input[type=password]", secret)
	c.js(`document.querySelector('dialog').innerText.match(/webhook-signature: (v1,[A-Za-z0-9+/]{43}=)/)`)
	c.js(`(() => {
		const field = document.querySelector('details.check input[placeholder^="v1"]')
		field.value = document.querySelector('dialog').innerText.match(/webhook-signature: (v1,\S+)/)[1]
		return field.dispatchEvent(new Event('input', { bubbles: true }))
	})()`)
	c.says("Genuine")
	c.fill(`details.check input[inputmode=numeric]`, "1")
	c.says("Not genuine")
}

// walkRepairs: an endpoint that has been repaired gets what waits by one act, and
// what was given up is sent again by one act, watched to its end.
func walkRepairs(t *testing.T, bin string) {
	c := newConsole(t, bin)
	c.t = t
	c.show("ill", "en", "/status")
	c.says("your server failed with 503")
	c.repaired.Store(true)
	c.press("Try now")
	c.awaits("ill", "HEALTHY", 0)
	c.says("All is well.")
	c.show("ended", "en", "/replay")
	c.js(`(document.querySelector('.band .bad a').click(), true)`)
	c.js(`location.hash.includes('from=')`)
	c.says("2 events would be sent again.")
	c.press("Send again")
	c.says("Done", "2 of 2 sent again")
	c.wantClean()
}

// walkFirstUse: an empty account is led to a verified test event; the secret that
// it is shown is the one that signs.
func walkFirstUse(t *testing.T, bin string) {
	c := newConsole(t, bin)
	c.t = t
	c.show("empty", "en", "/status")
	c.says("Receive your first callback")
	var w struct{ CallbackURL string }
	if _, answer := c.svc.api("GET", hook, c.keys["well"], ""); json.Unmarshal(answer, &w) != nil {
		t.Fatalf("the webhook of well: %s", answer)
	}
	u, err := url.Parse(w.CallbackURL)
	if err != nil {
		t.Fatal(err)
	}
	c.fill("input[type=url]", "https://"+u.Host+"/ill")
	c.press("Check")
	c.says("The test failed: your server failed with 503.")
	c.js(`(document.querySelector('input[type=url]').select(), true)`)
	c.enter("input[type=url]", w.CallbackURL)
	c.press("Check")
	c.says("It works")
	c.press("Register")
	c.says("whsec_", "Verify code")
	c.press("Send a test")
	c.press("Done")
	c.says("Ready: nothing has been sent yet.")
	if text, err := chromedp.Run(c.ctx, chromedp.Evaluate[string]("document.documentElement.outerHTML")); err != nil || strings.Contains(text, "whsec_") {
		t.Errorf("the secret is still on the page, or %v", err)
	}
	c.wantClean()
}
