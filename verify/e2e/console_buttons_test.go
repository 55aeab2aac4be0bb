package e2e

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// walkButtons presses what the other walks do not, and asks the API what has come of it: the
// platform's, then the holder's of an endpoint that is well, then those that end something.
func walkButtons(t *testing.T, bin string) {
	c := newConsole(t, bin)
	c.t = t
	c.opensAccount()
	c.makesLink()
	c.testsFromStatus()
	c.sendsSample()
	c.sendsChosenAgain()
	c.sendsOneAgain()
	c.savesPages()
	c.stopsReplay()
	c.removesWebhook()
	c.erases()
}

// named clicks what has this name for a screen reader.
func (c *console) named(name string) {
	c.t.Helper()
	c.js(fmt.Sprintf(`(() => {
		const found = [...document.querySelectorAll('[aria-label]')].find(e => e.ariaLabel === %q && !e.disabled && e.checkVisibility())
		found?.click()
		return found
	})()`, name))
}

// attempts waits until each of these events has been acknowledged at such an attempt.
func (c *console) attempts(account string, n int, events ...string) {
	c.t.Helper()
	for _, event := range events {
		eventually(c.t, fmt.Sprintf("%s to be acknowledged at attempt %d", event, n), func() bool {
			var d struct {
				State        string
				AttemptCount int
			}
			_, answer := c.svc.api("GET", hook+"/deliveries/"+event, c.keys[account], "")
			return json.Unmarshal(answer, &d) == nil && d.State == "DELIVERED" && d.AttemptCount == n
		})
	}
}

// opensAccount: the platform opens an account, sees what that sees, and leaves it.
func (c *console) opensAccount() {
	c.t.Helper()
	c.show("", "en", "/accounts")
	c.press("ill")
	c.says("your server failed with 503", "Set up")
	c.js(`document.querySelector('.as code').innerText === 'ill'`)
	c.press("Callbacks")
	c.says("own-ill-3")
	c.press("← Accounts")
	c.js(`location.hash === '#/accounts' && !document.querySelector('.as')`)
	c.says("well", "ended")
	c.wantClean()
}

// makesLink: a link that the page makes signs in as the account.
func (c *console) makesLink() {
	c.t.Helper()
	c.show("", "en", "/accounts")
	c.js(`(navigator.clipboard.writeText = async text => { window.copied = text }, true)`)
	c.named("Make a link that signs in as well")
	c.press("Copy the link")
	c.says("Copied", "signs in until")
	link := c.text("window.copied")
	c.do("follow the link", chromedp.Navigate(strings.Replace(link, "#", "?lang=en#", 1)))
	c.says("All is well.")
	c.js(`location.hash === '#/status' && JSON.parse(sessionStorage.getItem('recapito')).as === 'account'`)
	var keys struct{ APIKeys []struct{ ExpiresAt *string } }
	if _, answer := c.svc.api("GET", "/accounts/well/api-keys", bearer, ""); json.Unmarshal(answer, &keys) != nil || len(keys.APIKeys) != 2 ||
		!slices.ContainsFunc(keys.APIKeys, func(k struct{ ExpiresAt *string }) bool { return k.ExpiresAt != nil }) {
		c.t.Errorf("the keys of the account are %s, want its own and one that expires", answer)
	}
	c.wantClean()
}

// testsFromStatus: a test from the first page arrives, and a window says what came of it.
func (c *console) testsFromStatus() {
	c.t.Helper()
	before := c.to.count("well")
	c.show("well", "en", "/status")
	c.press("Send a test")
	c.js(`document.querySelector('dialog .says')?.innerText === 'It works: your endpoint acknowledged the test with 204.'`)
	c.js(`document.querySelector('dialog').innerText.includes('CN=recapito tests')`)
	if got := c.to.of("well")[before:]; len(got) != 1 || !strings.HasPrefix(got[0].ID, "test_") || got[0].Verified != nil {
		c.t.Errorf("the endpoint got %+v, want one signed test event", got)
	}
	c.named("Close")
	c.js(`!document.querySelector('dialog')`)
	c.wantClean()
}

// sendsSample: the sample that is chosen is the one that arrives.
func (c *console) sendsSample() {
	c.t.Helper()
	before := c.to.count("well")
	c.show("well", "en", "/setup")
	c.js(`(() => {
		const choice = document.querySelector('section[aria-label=Samples] select')
		if (choice) choice.value = 'RCS_READ'
		return choice?.dispatchEvent(new Event('change', { bubbles: true }))
	})()`)
	c.press("Send a test")
	c.js(`document.querySelector('dialog .says')?.innerText.startsWith('It works')`)
	c.js(`document.querySelector('dialog').innerText.includes('"status": "READ"')`)
	if got := c.to.of("well")[before:]; len(got) != 1 || !strings.Contains(got[0].Body, `"channel":"RCS"`) || !strings.Contains(got[0].Body, `"status":"READ"`) || got[0].Verified != nil {
		c.t.Errorf("the endpoint got %+v, want one signed event that says READ of RCS", got)
	}
	c.named("Close")
	c.wantClean()
}

// sendsChosenAgain: all events of two messages that are chosen are sent again, and no other.
func (c *console) sendsChosenAgain() {
	c.t.Helper()
	before := c.to.count("well")
	c.show("well", "en", "/callbacks")
	for _, m := range []string{"m-2", "m-3"} {
		c.js(fmt.Sprintf(`(() => {
			const row = [...document.querySelectorAll('.message')].find(m => m.dataset.id.startsWith(%q))
			row?.querySelector('input').click()
			return row
		})()`, m))
	}
	c.press("Send 4 events again")
	c.attempts("well", 2, "well-4", "well-5", "well-6", "well-7")
	c.attempts("well", 1, "well-0", "well-1", "well-2", "well-3")
	c.js(`![...document.querySelectorAll('.tools button')].some(b => b.innerText.startsWith('Send'))`)
	if n := c.to.count("well") - before; n != 4 {
		c.t.Errorf("%d events came, want the four of the messages that were chosen", n)
	}
	c.wantClean()
}

// sendsOneAgain sends an event again from its drawer, which shows the second attempt.
func (c *console) sendsOneAgain() {
	c.t.Helper()
	c.show("well", "en", "/callbacks?event=well-0")
	c.says("Attempt 1")
	c.press("Send this event again")
	c.says("Attempt 2")
	c.attempts("well", 2, "well-0")
	c.attempts("well", 1, "well-1")
	c.wantClean()
}

// savesPages saves a list that comes in several pages: each event is there once, and no cell is a
// formula.
func (c *console) savesPages() {
	c.t.Helper()
	formulas := []string{"=1+1", "+1-2", "-3", `@SUM("A1,A2")`, "\t=1+1"}
	var events []string
	for i, own := range formulas {
		e := strings.Replace(event("well", fmt.Sprint("formula-", i), fmt.Sprint("f-", i), "SENT"), `{`, fmt.Sprintf(`{"customerMessageId":%q,`, own), 1)
		events = append(events, e)
	}
	if code, answer := c.svc.api("POST", "/events", bearer, batch(events)); code != http.StatusAccepted {
		c.t.Fatalf("POST /events: %d %s", code, answer)
	}
	c.awaits("well", "HEALTHY", 0)
	c.show("well", "en", "/callbacks")
	// 10,000 a page are too many for a test: the service is asked for fewer.
	c.js(`(() => {
		const real = window.fetch
		window.asked = 0
		window.fetch = (at, how) => how.headers.Accept !== 'application/x-ndjson' ? real(at, how) : (window.asked++, real(at + '&limit=5', how))
		return true
	})()`)
	var want, lines []string
	for i := range 8 {
		want = append(want, fmt.Sprint("well-", i))
	}
	for i := range formulas {
		want = append(want, fmt.Sprint("formula-", i))
	}
	slices.Sort(want)
	for line := range strings.Lines(c.saves("NDJSON")) {
		var d struct{ EventID string }
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			c.t.Fatalf("a line of the NDJSON is %q: %v", line, err)
		}
		lines = append(lines, d.EventID)
	}
	slices.Sort(lines)
	if diff := cmp.Diff(want, lines); diff != "" {
		c.t.Errorf("the events of the NDJSON (-want +got):\n%s", diff)
	}
	c.js(`window.asked === 3`)
	rows, err := csv.NewReader(strings.NewReader(c.saves("CSV"))).ReadAll()
	if err != nil {
		c.t.Fatalf("the CSV: %v", err)
	}
	c.js(`window.asked === 6`)
	var ids []string
	own, to := slices.Index(rows[0], "customerMessageId"), slices.Index(rows[0], "destination")
	for _, row := range rows[1:] {
		ids = append(ids, row[0])
		if n, found := strings.CutPrefix(row[0], "formula-"); found && row[own] != "'"+formulas[n[0]-'0'] {
			c.t.Errorf("the own id of %s is %q, want one that is a text for a spreadsheet, too", row[0], row[own])
		}
		if row[to] != "+393401234567" {
			c.t.Errorf("the number of %s is %q, want it as it is", row[0], row[to])
		}
	}
	slices.Sort(ids)
	if diff := cmp.Diff(want, ids); diff != "" {
		c.t.Errorf("the events of the CSV (-want +got):\n%s", diff)
	}
	c.wantClean()
}

// stopsReplay stops a replay whose events are not answered.
func (c *console) stopsReplay() {
	c.t.Helper()
	c.show("ended", "en", "/replay")
	c.says("2 events would be sent again.")
	release := c.to.hold(c.t)
	c.press("Send again")
	c.says("Sending again")
	c.press("Stop")
	state := func() string {
		var list struct{ Replays []struct{ State string } }
		_, answer := c.svc.api("GET", hook+"/replays", c.keys["ended"], "")
		if err := json.Unmarshal(answer, &list); err != nil || len(list.Replays) != 1 {
			c.t.Fatalf("the replays are %s, %v; want one", answer, err)
		}
		return list.Replays[0].State
	}
	eventually(c.t, "the replay to be stopped", func() bool { return state() == "STOPPED" })
	c.says("Stopped")
	c.js(`!document.querySelector('.running')`)
	release()
	c.wantClean()
}

// removesWebhook: the webhook is removed by who types its host, and by nothing less.
func (c *console) removesWebhook() {
	c.t.Helper()
	host := c.to.server.Listener.Addr().String()
	there := func() int {
		code, _ := c.svc.api("GET", hook, c.keys["well"], "")
		return code
	}
	c.show("well", "en", "/setup")
	const card, button = `section[aria-label="Remove the webhook"]`, `section[aria-label="Remove the webhook"] button`
	c.js(`(document.querySelector('` + card + ` summary').click(), true)`)
	c.typesInstead(card+" input", button, host[:len(host)-1], host)
	if code := there(); code != http.StatusOK {
		c.t.Errorf("GET %s before the host was typed: %d, want 200", hook, code)
	}
	c.press("Remove the webhook")
	c.says("Receive your first callback")
	if code := there(); code != http.StatusNotFound {
		c.t.Errorf("GET %s: %d, want 404", hook, code)
	}
	c.wantClean()
}

// erases: an account is erased by who types its id, and by nothing less.
func (c *console) erases() {
	c.t.Helper()
	there := func() int {
		code, _ := c.svc.api("GET", "/accounts/ended", bearer, "")
		return code
	}
	c.show("", "en", "/accounts")
	c.named("Erase ended")
	c.typesInstead("details.erase[open] input", "details.erase[open] button", "ENDED", "ended")
	if code := there(); code != http.StatusOK {
		c.t.Errorf("GET the account before its id was typed: %d, want 200", code)
	}
	c.js(`(document.querySelector('details.erase[open] button').click(), true)`)
	c.says("Erased")
	if code := there(); code != http.StatusNotFound {
		c.t.Errorf("GET the account: %d, want 404", code)
	}
	c.wantClean()
}

// typesInstead types what is wrong, which leaves the button dead, and what is right, which does not.
func (c *console) typesInstead(field, button, wrong, right string) {
	c.t.Helper()
	dead := fmt.Sprintf(`document.querySelector(%q).disabled`, button)
	c.js(dead)
	c.fill(field, wrong)
	c.js(fmt.Sprintf(`document.querySelector(%q).value === %q`, field, wrong))
	c.js(fmt.Sprintf(`(document.querySelector(%q).click(), true)`, button))
	c.js(dead)
	c.js(fmt.Sprintf(`(document.querySelector(%q).select(), true)`, field))
	c.enter(field, right)
	c.js("!" + dead)
}
