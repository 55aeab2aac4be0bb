package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
)

// walkSearch: a number that has got more than a page holds is found as a whole, page by page and
// in the file, each event once, also one that is found in two ways; and an event and a message are
// found by their ids.
func walkSearch(t *testing.T, bin string) {
	const number, more = "+393401234567", 130
	c := newConsole(t, bin)
	c.t = t
	own := map[string]any{}
	if err := json.Unmarshal([]byte(event("well", "twice", "m-twice", "DELIVERED")), &own); err != nil {
		t.Fatal(err)
	}
	own["customerMessageId"] = number
	twice, err := json.Marshal(own)
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for i := range more {
		events = append(events, event("well", fmt.Sprint("more-", i), fmt.Sprint("m-more-", i), "DELIVERED"))
	}
	for _, some := range [][]string{{string(twice)}, events} {
		if code, answer := c.svc.api("POST", "/events", bearer, batch(some)); code != http.StatusAccepted {
			t.Fatalf("POST /events: %d %s", code, answer)
		}
	}
	c.show("well", "en", "/callbacks?q="+url.QueryEscape(number))
	c.says("101 messages found so far; there are older ones.") // a page by the number, and one by the own id
	c.savesFound(8+1+more, "well-0")
	c.press("Older")
	c.js(`document.querySelector('.message[data-page="1"]')?.checkVisibility() && document.body.innerText.includes('own-well-1')`)
	c.press("Newest")
	c.says("101 messages found so far; there are older ones.")
	for _, q := range []string{"well-3", "m-1" + hostileText} {
		c.show("well", "en", "/callbacks?q="+url.QueryEscape(q))
		c.says("1 message found", "own-well-3")
		c.js(`document.querySelectorAll('.message').length === 1 && document.querySelectorAll('.message .dot').length === 2`)
	}
	c.show("well", "en", "/callbacks?q=nothing")
	c.says("Nothing found for “nothing”.")
	c.wantClean()
}
