package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// received is one request as a receiver got it. Who made it is no part of it.
type received struct {
	Method, URI, Body string
	Header            http.Header // without User-Agent
}

// walkCurl: the command that the page shows, signed with the secret that is entered, repeats the
// request in a shell to the byte, whatever is in its URL and its body.
func walkCurl(t *testing.T, bin string) {
	const account, path = "acc", `/it's/$(touch$IFS$9ran)/;&touch+ran?a=1&b='&c=!!*~`
	const text = `it's "$(touch ran)" && \n %s ü€𝄞 !! @/etc/passwd` + hostileText
	ca := newAuthority(t)
	var mu sync.Mutex
	var got []received
	to := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Header.Del("User-Agent")
		mu.Lock()
		defer mu.Unlock()
		got = append(got, received{r.Method, r.RequestURI, string(body), r.Header})
		w.WriteHeader(http.StatusNoContent)
	}))
	to.TLS = &tls.Config{Certificates: []tls.Certificate{ca.leaf}}
	to.StartTLS()
	t.Cleanup(to.Close)
	requests := func() []received {
		mu.Lock()
		defer mu.Unlock()
		return append([]received(nil), got...)
	}
	c := &console{browser: newBrowser(t), keys: map[string]string{}, svc: serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file, "--attempt-timeout", "1m")}
	c.keys[account] = c.svc.account(account)
	code, answer := c.svc.api("POST", hook, c.keys[account], callback(to.URL+path))
	if code != http.StatusCreated {
		t.Fatalf("POST %s: %d %s", hook, code, answer)
	}
	secret := field(t, answer, "signingSecret")
	var e map[string]any
	if err := json.Unmarshal([]byte(event(account, "e-1", "m-1 "+text, "SENT")), &e); err != nil {
		t.Fatal(err)
	}
	e["customerMessageId"], e["description"] = text, text
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if code, answer := c.svc.api("POST", "/events", bearer, batch([]string{string(body)})); code != http.StatusAccepted {
		t.Fatalf("POST /events: %d %s", code, answer)
	}
	c.awaits(account, "HEALTHY", 0)

	c.show(account, "en", "/callbacks?event=e-1")
	c.says("Your endpoint acknowledged it with 204")
	const command = `document.querySelector('pre[aria-label=curl]').textContent`
	c.js(command + `.includes('webhook-signature: v1,…')`)
	c.js(`(document.querySelector('details.check').open = true)`)
	c.fill("details.check input[type=password]", secret)
	c.js(command + `.match(/webhook-signature: v1,[A-Za-z0-9+/]{43}=/)`)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", c.text(command))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CURL_CA_BUNDLE="+ca.file)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), " 204 ") {
		t.Errorf("%s\n%v\n%s\nwant an answer with 204", cmd.Args[2], err, out)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("the command made %v, %v; want nothing to be run but curl", names, err)
	}
	all := requests()
	if len(all) != 2 {
		t.Fatalf("%d requests came, want that of the attempt and that of the command: %+v", len(all), all)
	}
	if diff := cmp.Diff(all[0], all[1]); diff != "" {
		t.Errorf("the command's request is not that of the attempt (-want +got):\n%s\nthe command: %s", diff, cmd.Args[2])
	}
	if all[0].URI != path {
		t.Errorf("the attempt asked for %s, want %s", all[0].URI, path)
	}
	c.js(fmt.Sprintf(`[...document.querySelectorAll('dialog .id code')].some(e => e.innerText === %q)`, text))
	c.wantClean()
}
