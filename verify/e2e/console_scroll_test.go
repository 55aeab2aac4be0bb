package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// scrolled reads the list of callbacks to its end, somewhat less than a window at a time. It is
// an expression that says which messages were in the window, in order, each with as many events
// as it ever had, and how many rows there were at most.
const scrolled = `(async () => {
	const frame = () => new Promise(requestAnimationFrame)
	const events = new Map()
	let most = 0, at = 'the start'
	const scroll = async () => {
		for (;;) {
			at = 'a page that is asked for'
			do await frame(), await frame()
			while (document.querySelector('.pager [aria-busy=true]'))
			at = 'the end'
			const rows = [...document.querySelectorAll('.message')]
			most = Math.max(most, rows.length)
			for (const row of rows) {
				const { top, bottom } = row.getBoundingClientRect()
				const n = row.querySelectorAll('.dot').length
				if (bottom > 0 && top < innerHeight || events.has(row.dataset.id)) events.set(row.dataset.id, Math.max(n, events.get(row.dataset.id) ?? 0))
			}
			if (scrollY + innerHeight >= document.documentElement.scrollHeight - 1) return ''
			scrollBy(0, 0.7 * innerHeight)
		}
	}
	const limit = new Promise(end => setTimeout(() => end(at), 300_000))
	const waited = await Promise.race([scroll(), limit])
	const rows = [...document.querySelectorAll('.message')]
	const state = { at: scrollY, of: document.documentElement.scrollHeight, seen: events.size, rows: rows.length, first: rows[0]?.dataset.page, last: rows.at(-1)?.dataset.page,
		visible: document.visibilityState, padding: rows[0]?.parentElement.style.cssText, pager: document.querySelector('.pager')?.outerHTML, said: document.querySelector('.tools')?.innerText }
	return { messages: [...events].map(([id, n]) => id + ' ' + n), most, waited: waited && waited + ': ' + JSON.stringify(state) }
})()`

// walkScroll: a list of thousands is scrolled to its end and shows each message once, with all
// of its events, though there are never more than some hundred rows at a time.
func walkScroll(t *testing.T, bin string) {
	const messages, mostRows = 2000, 400
	c := newConsole(t, bin)
	c.t = t
	want := []string{"newest 1"}
	var events []string
	for m := range messages {
		id := fmt.Sprintf("scroll-%d", m)
		want = slices.Insert(want, 1, id+" 2")
		events = append(events, event("ill", id+"-a", id, "SENT"), event("ill", id+"-b", id, "DELIVERED"))
	}
	for some := range slices.Chunk(append(events, event("ill", "newest-a", "newest", "SENT")), 1000) {
		if code, answer := c.svc.api("POST", "/events", bearer, batch(some)); code != http.StatusAccepted {
			t.Fatalf("POST /events: %d %s", code, answer)
		}
	}
	c.do("set the width", chromedp.EmulateViewport(1280, 900))
	c.show("ill", "en", "/callbacks")
	c.js(`document.querySelector('.message').dataset.id === 'newest'`)
	c.goesOnByKeyboard()
	got, err := chromedp.Run(c.ctx, chromedp.Evaluate[struct {
		Messages []string
		Most     int
		Waited   string // in vain, and how the page was then
	}](scrolled, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("scroll to the end: %v", err)
	}
	if got.Waited != "" {
		t.Fatalf("scroll to the end: waited too long for %s", got.Waited)
	}
	if diff := cmp.Diff(want, got.Messages[:min(len(want), len(got.Messages))]); diff != "" {
		t.Errorf("the messages that were in the window (-want +got):\n%s", diff)
	}
	if got.Most > mostRows {
		t.Errorf("there were %d rows at a time, want %d at most", got.Most, mostRows)
	}
	const someInWindow = `[...document.querySelectorAll('.message')].some(row => row.getBoundingClientRect().top > 0 && row.getBoundingClientRect().bottom < innerHeight)`
	c.js(`(scrollTo(0, document.documentElement.scrollHeight / 2), true)`)
	c.js(someInWindow + ` && document.querySelector('.message').dataset.page > 0`)
	c.js(`(scrollTo(0, 0), true)`)
	c.says("Live")
	c.js(`document.querySelector('.message').dataset.id === 'newest' && document.querySelectorAll('.message').length < 100`)
	c.wantClean()
}

// goesOnByKeyboard: whoever does not scroll goes on with a button, which leads to the first of
// the older messages, and back with another.
func (c *console) goesOnByKeyboard() {
	c.t.Helper()
	c.press("Older")
	c.js(`document.activeElement === document.querySelector('.message[data-page="1"] a')`)
	c.says("Older callbacks")
	c.press("Newest")
	c.says("Live")
	c.js(`scrollY === 0 && !document.querySelector('.message[data-page="1"]')`)
}
