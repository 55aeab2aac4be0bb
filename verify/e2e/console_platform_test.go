package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// walkPlatform: the platform finds an incident, sends again what it has cost an account, and
// gives the account's holder a link, which signs in until it is revoked.
func walkPlatform(t *testing.T, bin string) {
	c := newConsole(t, bin)
	c.t = t
	c.show("", "en", "/errors")
	c.says("2 accounts", "They share a host")
	c.press("Send again…")
	c.says("Yes, of 2 accounts")
	c.repaired.Store(true)
	c.js(`(document.querySelector('.sure input').click(), true)`)
	c.press("Send again")
	c.says("2 of 2 sent again")
	var link struct{ Path, KeyID string }
	if code, answer := c.svc.api("POST", "/accounts/well/console-links", bearer, ""); code != http.StatusCreated || json.Unmarshal(answer, &link) != nil {
		t.Fatalf("make a link: %d %s", code, answer)
	}
	c.do("follow the link", chromedp.Navigate(c.svc.url+"/console?lang=en"), chromedp.Navigate(c.svc.url+strings.Replace(link.Path, "#", "?lang=en#", 1)))
	c.says("All is well.", "Set up")
	c.js(`location.hash === '#/status'`)
	c.wantClean()
	if code, answer := c.svc.api("DELETE", "/accounts/well/api-keys/"+link.KeyID, bearer, ""); code != http.StatusNoContent {
		t.Fatalf("revoke the link's key: %d %s", code, answer)
	}
	c.says("The link has ended.")
	c.js(`sessionStorage.length === 0`)
	c.wantClean("401 " + hook) // the revoked key
}
