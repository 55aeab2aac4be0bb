package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// repairs are the ways in which endpoints break: what the page says of each, and how its
// holder mends it, led by the page.
var repairs = []struct {
	account, reason, advice string
	mend                    func(*console, *breakable)
}{
	{"path", "your endpoint does not know the path (404)", "Correct the path of the callback URL", func(c *console, b *breakable) { c.putURL("path", b.server.URL+"/right") }},
	{"signature", "your endpoint refused the caller with 401", "Verify the signature with the present secret", func(c *console, b *breakable) {
		c.show("signature", "en", "/setup")
		c.press("Make a new secret")
		c.says("goes on signing beside it")
		c.press("Make a new secret")
		c.js(`document.querySelector('.once code')`)
		secret := c.text(`document.querySelector('.once code').innerText`)
		c.tryAgain("signature", func() { b.secret.Store(secret) })
	}},
	{"certificate", "the certificate has expired", "Renew the certificate", func(c *console, b *breakable) {
		c.show("certificate", "en", "/callbacks?event=certificate-0")
		c.press("See the certificate now")
		c.says("valid until")
		c.js(`document.querySelector('.found .says').innerText === 'The test failed: the certificate expired on ' + document.querySelector('.chain .bad time').innerText + '.'`)
		c.tryAgain("certificate", func() { b.certified.Store(true) })
	}},
	{"time", "no answer came within the deadline", "Answer 2xx at once", func(c *console, b *breakable) {
		c.tryAgain("time", func() { b.inTime.Store(true) })
	}},
	{"failure", "your server failed with 500", "See in the log of your server why it failed", func(c *console, b *breakable) {
		c.tryAgain("failure", func() { b.repaired.Store(true) })
	}},
	{"redirect", "your endpoint redirected (301)", "Put the final address as the callback URL", func(c *console, _ *breakable) {
		c.show("redirect", "en", "/callbacks?event=redirect-0")
		c.says("It redirected to")
		c.putURL("redirect", c.text(`[...document.querySelectorAll('.timeline p')].find(p => p.innerText.startsWith('It redirected to')).querySelector('code').innerText`))
	}},
}

// breakable is a receiver of which each path is broken in the way that is its name, and is well
// at /right.
type breakable struct {
	server    *httptest.Server
	expired   *httptest.Server // with a certificate that is not valid any more, until certified
	certified atomic.Bool
	inTime    atomic.Bool
	repaired  atomic.Bool
	secret    atomic.Value // that the endpoint at /signature knows
}

func newBreakable(t *testing.T, ca *authority) *breakable {
	t.Helper()
	b := &breakable{}
	b.secret.Store("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDcBJRdOPzaBE=")
	old := expired(t)
	serve := func(certificate func() *tls.Certificate) *httptest.Server {
		s := httptest.NewUnstartedServer(b)
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are to fail
		s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{*certificate()}}, nil
		}}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	b.server = serve(func() *tls.Certificate { return &ca.leaf })
	b.expired = serve(func() *tls.Certificate {
		if b.certified.Load() {
			return &ca.leaf
		}
		return old
	})
	return b
}

// expired is a certificate for this host that was valid until an hour ago.
func expired(t *testing.T) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	return certificate(t, template, template)
}

// certificate is one for this host, which its own key has signed in the name of an issuer.
func certificate(t *testing.T, template, issuer *x509.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.IPAddresses, template.ExtKeyUsage = []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// url is where the callbacks of an account go at first.
func (b *breakable) url(account string) string {
	if account == "certificate" {
		return b.expired.URL + "/right"
	}
	return b.server.URL + "/" + account
}

func (b *breakable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	status := http.StatusNoContent
	switch path := strings.TrimPrefix(r.URL.Path, "/"); {
	case path == "path":
		status = http.StatusNotFound
	case path == "redirect":
		w.Header().Set("Location", b.server.URL+"/right")
		status = http.StatusMovedPermanently
	case path == "signature":
		if v, err := standardwebhooks.NewWebhook(b.secret.Load().(string)); err != nil || v.Verify(body, r.Header) != nil {
			status = http.StatusUnauthorized
		}
	case path == "time" && !b.inTime.Load():
		<-r.Context().Done()
		return
	case path == "failure" && !b.repaired.Load():
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
}

// walkSixRepairs: whoever holds an endpoint that broke in one of six ways reads what is wrong
// on the page, does what it says, and gets everything that waited.
func walkSixRepairs(t *testing.T, bin string) {
	ca := newAuthority(t)
	b := newBreakable(t, ca)
	gaps := strings.TrimSuffix(strings.Repeat("300ms,", 20), ",")
	c := &console{keys: map[string]string{}, svc: serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"),
		"--callback-ca", ca.file, "--retry-schedule", gaps, "--attempt-timeout", "1s", "--retry-horizon", "1h")}
	var events []string
	for _, r := range repairs {
		c.keys[r.account] = c.svc.account(r.account)
		if code, answer := c.svc.api("POST", hook, c.keys[r.account], `{"callbackUrl":"`+b.url(r.account)+`"}`); code != http.StatusCreated {
			t.Fatalf("register %s: %d %s", r.account, code, answer)
		}
		for i := range 4 {
			events = append(events, evilEvent(r.account, fmt.Sprint(r.account, "-", i), fmt.Sprint("m-", i)))
		}
	}
	if code, answer := c.svc.api("POST", "/events", bearer, batch(events)); code != http.StatusAccepted {
		t.Fatalf("POST /events: %d %s", code, answer)
	}
	c.browser = newBrowser(t)
	for _, r := range repairs {
		t.Run(r.account, func(t *testing.T) {
			c.t = t
			c.fails(r.account)
			c.show(r.account, "en", "/status")
			c.says(r.reason, r.advice)
			r.mend(c, b)
			c.awaits(r.account, "HEALTHY", 0)
			c.show(r.account, "en", "/status")
			c.says("All is well.")
			c.wantClean("409 " + hook + "/probe") // tryAgain was late
		})
	}
}

// fails waits until an account's endpoint is known to.
func (c *console) fails(account string) {
	c.t.Helper()
	eventually(c.t, account+" to fail", func() bool {
		var h struct{ State string }
		_, answer := c.svc.api("GET", hook+"/health", c.keys[account], "")
		return json.Unmarshal(answer, &h) == nil && (h.State == "FAILING" || h.State == "PROBING")
	})
}

// putURL checks a callback URL on the page, and saves it.
func (c *console) putURL(account, url string) {
	c.t.Helper()
	c.show(account, "en", "/setup")
	c.js(`(document.querySelector('input[type=url]').select(), true)`)
	c.enter("input[type=url]", url)
	c.press("Check")
	c.says("It works")
	c.press("Save")
	c.says("Saved.")
}

// tryAgain repairs an endpoint and presses what the status page has offered before. The
// retry that was due anyway may be faster: then there is nothing to press any more.
func (c *console) tryAgain(account string, repair func()) {
	c.t.Helper()
	const button = `[...document.querySelectorAll('.hero .acts .button.primary')].find(b => ['Try now', 'It is repaired: send everything'].includes(b.innerText) && !b.disabled)`
	c.show(account, "en", "/status")
	c.js(button)
	repair()
	c.js(`(() => {
		const button = ` + button + `
		button?.click()
		return button || document.body.innerText.includes('All is well.')
	})()`)
}

// text is what an expression says.
func (c *console) text(expression string) string {
	c.t.Helper()
	text, err := chromedp.Run(c.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		c.t.Fatalf("%s: %v", expression, err)
	}
	return text
}
