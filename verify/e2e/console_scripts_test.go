package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"time"
)

// hostileURL is the rest of a callback URL that would be a script as markup, as markup with
// references, as a link, as a text of a program or as a command of a shell.
const hostileURL = `/%22%3E%3Cimg%20src=x%20onerror=%22owned=1%22%3E/&lt;script&gt;owned=1&lt;/script&gt;'+(owned=1)+'/$(owned=1)` +
	`?to=javascript:owned=1&q='%22%3E%3Cscript%3Eowned=1%3C/script%3E;owned=1;'`

// hostileAccounts are ids: a script as a link, what every object of a program has, and a path.
var hostileAccounts = struct{ redirected, uncertain, first string }{"javascript:owned", "__proto__", "..~:@-"}

// walkScripts: what an account, a platform, a receiver or an address has chosen is a text wherever
// the page shows it.
func walkScripts(t *testing.T, bin string) {
	ca := newAuthority(t)
	to := newSink(t, ca)
	to.answer = func(_ string, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/right" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Location", hostileText)
		w.WriteHeader(http.StatusFound)
	}
	uncertain := httptest.NewUnstartedServer(to)
	uncertain.Config.ErrorLog = log.New(io.Discard, "", 0) // nobody trusts it
	uncertain.TLS = &tls.Config{Certificates: []tls.Certificate{*hostileCertificate(t)}}
	uncertain.StartTLS()
	t.Cleanup(uncertain.Close)

	c := &console{browser: newBrowser(t), keys: map[string]string{}, svc: serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"),
		"--callback-ca", ca.file, "--attempt-timeout", "1m", "--retry-schedule", "100ms", "--retry-horizon", "1h")}
	var events []string
	for account, at := range map[string]string{
		hostileAccounts.redirected: to.server.URL + hostileURL, hostileAccounts.uncertain: uncertain.URL + hostileURL, hostileAccounts.first: "",
	} {
		c.keys[account] = c.svc.account(account)
		if at == "" {
			continue
		}
		if code, answer := c.svc.api("POST", hook, c.keys[account], callback(at)); code != http.StatusCreated {
			t.Fatalf("register %s: %d %s", at, code, answer)
		}
		events = append(events, evilEvent(account, "e-1", "m-1"+hostileText), evilEvent(account, "e-2", "m-2"))
	}
	if code, answer := c.svc.api("POST", "/events", bearer, batch(events)); code != http.StatusAccepted {
		t.Fatalf("POST /events: %d %s", code, answer)
	}
	c.fails(hostileAccounts.redirected)
	c.fails(hostileAccounts.uncertain)
	c.redirectsTo(to.server.URL + hostileURL)
	c.certifies()
	c.namesAccounts()
	c.beginsAt(to.server.URL + "/right" + hostileURL[len("/"):])
	c.opensAddresses()
}

// hostileCertificate is for this host, and says of itself and of who has signed it what it likes.
func hostileCertificate(t *testing.T) *tls.Certificate {
	t.Helper()
	return certificate(t, &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "subject" + hostileText},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour), DNSNames: []string{"names" + hostileText},
	}, &x509.Certificate{Subject: pkix.Name{Organization: []string{"issuer" + hostileText}}})
}

// redirectsTo shows the callback URL, and where its receiver redirects to.
func (c *console) redirectsTo(url string) {
	c.t.Helper()
	account := hostileAccounts.redirected
	c.show(account, "en", "/callbacks?event=e-1")
	c.says("It redirected to", "POST "+url, hostileText)
	c.js(fmt.Sprintf(`[...document.querySelectorAll('.timeline p')].some(p => p.innerText === 'It redirected to ' + %q)`, hostileText))
	c.wantClean()
	c.show(account, "en", "/callbacks?q="+escaped("nothing"+hostileText))
	c.says("Nothing found for “nothing" + hostileText + "”.")
	c.js(fmt.Sprintf(`document.querySelector('input[type=search]').value === %q`, "nothing"+hostileText))
	c.wantClean()
	c.show(account, "en", "/setup")
	c.js(fmt.Sprintf(`document.querySelector('input[type=url]').value === %q`, url))
	for _, language := range []string{"Python", "Go", "Java", "PHP", "Ruby", "Node.js"} {
		c.press(language)
		c.js(fmt.Sprintf(`document.querySelector('pre[aria-label=%q]').innerText.includes('/ltscriptgtowned1')`, language))
		c.wantClean()
	}
	c.press("Check")
	c.says("The test failed: your endpoint redirected (302)", "Location: "+hostileText)
	c.wantClean()
}

// certifies shows what a certificate says of itself.
func (c *console) certifies() {
	c.t.Helper()
	account := hostileAccounts.uncertain
	c.show(account, "en", "/callbacks?event=e-1")
	c.press("See the certificate now")
	// RFC 4514 has a backslash before some letters.
	const name = `\"\>\<img src=x onerror=\"owned=1\"\>\<script\>owned=1\</script\>`
	c.says("CN=subject"+name, "signed by O=issuer"+name, "names"+hostileText+", 127.0.0.1")
	c.wantClean()
	c.show(account, "en", "/status")
	c.press("Send a test")
	c.says("CN=subject" + name)
	c.wantClean()
}

// namesAccounts shows the accounts to the platform.
func (c *console) namesAccounts() {
	c.t.Helper()
	for _, at := range []string{"/accounts", "/errors"} {
		c.show("", "en", at)
		c.says(hostileAccounts.redirected, hostileAccounts.uncertain)
		c.wantClean()
	}
	c.press("Send again…")
	c.js(fmt.Sprintf(`[%q, %q].includes(document.querySelector('textarea').value)`, hostileAccounts.redirected, hostileAccounts.uncertain))
	c.wantClean()
	for _, account := range []string{hostileAccounts.redirected, hostileAccounts.uncertain, hostileAccounts.first} {
		c.show("", "en", "/accounts")
		c.press(account)
		c.js(fmt.Sprintf(`document.querySelector('.as code').innerText === %q && location.hash === '#/status'`, account))
		c.settle()
		c.wantClean()
	}
}

// beginsAt shows a callback URL that is being registered.
func (c *console) beginsAt(url string) {
	c.t.Helper()
	c.show(hostileAccounts.first, "en", "/status")
	c.fill("input[type=url]", url)
	c.press("Register")
	c.says("Keep this secret now", url)
	c.wantClean()
}

// opensAddresses follows links to the console that somebody has made to do harm.
func (c *console) opensAddresses() {
	c.t.Helper()
	account, text := hostileAccounts.redirected, escaped(hostileText)
	c.show(account, "en", "/"+text+"?"+text+"="+text)
	c.says("your endpoint redirected (302)")
	c.wantClean()
	c.show(account, "en", "/callbacks?event="+text)
	c.js(`document.querySelector('dialog .says, dialog .trouble')`)
	c.wantClean("400 " + hook + "/deliveries/")
	c.show(account, "en", "/callbacks?status="+text+"&state="+text)
	c.says("Answer "+hostileText, "The service refused it (400).")
	c.wantClean("400 " + hook + "/deliveries?")
	c.show("", "en", "/accounts?prefix="+text)
	c.js(fmt.Sprintf(`document.querySelector('input[type=search]').value === %q`, hostileText))
	c.wantClean("400 /accounts?")
	c.show("", "en", "/replays?accounts="+text)
	c.js(fmt.Sprintf(`document.querySelector('textarea').value === %q`, hostileText))
	c.wantClean()
}

// escaped is a text as a value in the address of a page.
func escaped(text string) string { return url.QueryEscape(text) }
