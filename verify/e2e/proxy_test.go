//go:build linux

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	proxyUser     = "recapito"
	proxyPassword = "canary0of0the0proxy"
	// proxyLeaves is the address that the proxies of these tests connect from.
	proxyLeaves = "127.0.0.9"
)

// forwardProxy is a proxy that is not ours, as a process.
type forwardProxy struct {
	t      *testing.T
	scheme string
	addr   string
	locked bool // it asks for a password
	with   func(password string) *exec.Cmd
	cmd    *exec.Cmd
	log    *lockedBuffer
}

// proxies makes each kind of proxy that the tests have; `make tools` installs them.
var proxies = map[string]func(t *testing.T) *forwardProxy{"tinyproxy": tinyproxy, "microsocks": microsocks}

// tinyproxy speaks CONNECT.
func tinyproxy(t *testing.T) *forwardProxy {
	p := &forwardProxy{t: t, scheme: "http", addr: freeAddr(t)}
	p.with = func(password string) *exec.Cmd {
		_, port, _ := net.SplitHostPort(p.addr)
		conf := "Listen 127.0.0.1\nPort " + port + "\nBind " + proxyLeaves + "\nMaxClients 500\nTimeout 600\nLogLevel Connect\n"
		if p.locked {
			conf += "BasicAuth " + proxyUser + " " + password + "\n"
		}
		file := filepath.Join(t.TempDir(), "tinyproxy.conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.Command("tinyproxy", "-d", "-c", file)
	}
	return p
}

// microsocks speaks SOCKS 5.
func microsocks(t *testing.T) *forwardProxy {
	p := &forwardProxy{t: t, scheme: "socks5", addr: freeAddr(t)}
	p.with = func(password string) *exec.Cmd {
		_, port, _ := net.SplitHostPort(p.addr)
		args := []string{"-i", "127.0.0.1", "-p", port, "-b", proxyLeaves}
		if p.locked {
			args = append(args, "-u", proxyUser, "-P", password)
		}
		return exec.Command("microsocks", args...)
	}
	return p
}

// start returns when the proxy takes connections.
func (p *forwardProxy) start(password string) {
	p.t.Helper()
	p.cmd, p.log = p.with(password), &lockedBuffer{}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("%v (make tools installs it)", err)
	}
	p.t.Cleanup(p.kill)
	eventually(p.t, "the proxy", func() bool {
		c, err := net.Dial("tcp", p.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill is kill -9.
func (p *forwardProxy) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
	if p.t.Failed() {
		p.t.Logf("the proxy's log:\n%s", p.log)
	}
}

// file holds its URL.
func (p *forwardProxy) file() string {
	url := p.scheme + "://" + p.addr
	if p.locked {
		url = p.scheme + "://" + proxyUser + ":" + proxyPassword + "@" + p.addr
	}
	file := filepath.Join(p.t.TempDir(), "egress-proxy")
	if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// wantUnseen fails the test if the proxy's password can be seen from outside.
func (p *forwardProxy) wantUnseen(svc *service) {
	p.t.Helper()
	for where, text := range svc.seen() {
		for _, secret := range []string{proxyPassword, base64.StdEncoding.EncodeToString([]byte(proxyUser + ":" + proxyPassword))} {
			if strings.Contains(text, secret) {
				p.t.Errorf("the proxy's password is in %s", where)
			}
		}
	}
}

// registerAt registers an account's URL at the sink under another host.
func (s *service) registerAt(to *sink, account, host string) (key string) {
	s.t.Helper()
	key = s.account(account)
	url := strings.Replace(to.url(account), "127.0.0.1", host, 1)
	code, answer := s.api("POST", hook, key, callback(url))
	if code != http.StatusCreated {
		s.t.Fatalf("POST %s: %d %s", hook, code, answer)
	}
	to.trust(s.t, account, field(s.t, answer, "signingSecret"))
	return key
}

// Callbacks go by proxies that others have written, with a password and without. Names
// are looked up here, unless the proxy is said to do so.
func TestCallbacksGoByProxiesOfOthers(t *testing.T) {
	bin := build(t, false)
	for kind, proxy := range proxies {
		for _, locked := range []bool{false, true} {
			for _, resolves := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, password %v, resolves %v", kind, locked, resolves), func(t *testing.T) {
					ca := newAuthority(t)
					to := newSink(t, ca)
					p := proxy(t)
					p.locked = locked
					p.start(proxyPassword)
					svc := serve(t, bin, "memory:", "--store", "memory:", "--callback-ca", ca.file, "--log-level", "debug", againSoon,
						"--egress-proxy-file", p.file(), fmt.Sprintf("--egress-proxy-resolves=%v", resolves))
					svc.registerAt(to, "by_name", "localhost")
					svc.registerAt(to, "by_address", "127.0.0.1")
					feed(t, svc, 1, [][]string{{event("by_name", "e1", "m1", "SENT"), event("by_address", "e2", "m2", "SENT")}})
					for _, account := range []string{"by_name", "by_address"} {
						eventually(t, "the callback of "+account, func() bool { return to.count(account) > 0 })
						if got := to.of(account)[0]; got.From != proxyLeaves || got.Verified != nil {
							t.Errorf("%s: from %s, verified %v, want it from the proxy's address %s", account, got.From, got.Verified, proxyLeaves)
						}
					}
					if got := strings.Contains(p.log.String(), "localhost:"); got != resolves {
						t.Errorf("the proxy was asked for a name: %v, want %v; its log:\n%s", got, resolves, p.log)
					}
					p.wantUnseen(svc)
					svc.terminate()
				})
			}
		}
	}
}

// What is not public is refused before the proxy hears of it, whatever it would do. A
// proxy that looks names up has to refuse where they lead; addresses are refused here.
func TestTheGuardStandsBeforeAProxyOfOthers(t *testing.T) {
	bin := build(t, false)
	for _, resolves := range []bool{false, true} {
		t.Run(fmt.Sprintf("resolves %v", resolves), func(t *testing.T) {
			ca, db := newAuthority(t), filepath.Join(t.TempDir(), "recapito.db")
			to := newSink(t, ca)
			open := serve(t, bin, db)
			keys := map[string]string{}
			for account, host := range map[string]string{"by_name": "localhost", "by_address": "127.0.0.1"} {
				keys[account] = open.registerAt(to, account, host)
			}
			open.terminate()
			p := tinyproxy(t)
			p.start("")
			svc := serveGuarded(t, bin, db, "--platform-key", platformKey, "--callback-ca", ca.file,
				"--egress-proxy-file", p.file(), fmt.Sprintf("--egress-proxy-resolves=%v", resolves))
			svc.awaitReady()
			feed(t, svc, 1, [][]string{{event("by_name", "by_name", "m1", "SENT"), event("by_address", "by_address", "m2", "SENT")}})
			refused := []string{"by_address"}
			if resolves {
				eventually(t, "the callback that only the proxy could refuse", func() bool { return to.count("by_name") == 1 })
			} else {
				refused = append(refused, "by_name")
			}
			for _, account := range refused {
				eventually(t, "the attempt of "+account+" to be refused", func() bool {
					return strings.Contains(svc.attempts(keys[account], account), `"DESTINATION_REFUSED" "ADDRESS_NOT_PUBLIC"`)
				})
				if strings.Contains(p.log.String(), "127.0.0.1:") || to.count(account) > 0 {
					t.Errorf("%s: %d callbacks; the proxy was asked:\n%s\nwant none of both", account, to.count(account), p.log)
				}
			}
			svc.terminate()
		})
	}
}

// attempts are the errors and details of a delivery's attempts, in quotes.
func (s *service) attempts(key, event string) string {
	s.t.Helper()
	code, answer := s.api("GET", hook+"/deliveries/"+event, key, "")
	var d struct {
		Attempts []struct{ Error, Detail string }
	}
	if err := json.Unmarshal(answer, &d); err != nil || code != http.StatusOK {
		s.t.Fatalf("GET the delivery: %d %s", code, answer)
	}
	var all string
	for _, a := range d.Attempts {
		all += fmt.Sprintf("%q %q\n", a.Error, a.Detail)
	}
	return all
}

// A proxy is killed, comes back and refuses the password,
// and comes back as it was. Until then events wait: no endpoint is blamed, and the
// operator is told. Then all of them arrive, once.
func TestAProxyThatFailsBlamesNoEndpoint(t *testing.T) {
	bin := build(t, false)
	for kind, proxy := range proxies {
		t.Run(kind, func(t *testing.T) {
			const accounts, each = 3, 20
			ca := newAuthority(t)
			to := newSink(t, ca)
			p := proxy(t)
			p.locked = true
			p.start(proxyPassword)
			svc := serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file, "--log-level", "debug", againSoon, "--egress-proxy-file", p.file())
			keys := provision(t, svc, to, accounts)
			fed := 0
			feedMore := func(n int) {
				var events []string
				for range n {
					for a := range accounts {
						events = append(events, event(acc(a), fmt.Sprintf("e-%d", fed), fmt.Sprintf("m-%d", fed), "SENT"))
						fed++
					}
				}
				feed(t, svc, 1, [][]string{events})
			}
			feedMore(1)
			// What is under way with a proxy that dies cannot be told from what an endpoint
			// breaks off, and fails: nothing is.
			eventually(t, "the first callbacks", func() bool {
				return metric(t, svc, `recapito_deliveries{state="DELIVERED"}`) == float64(fed)
			})

			wantWaiting := func(what, told string) {
				t.Helper()
				failures := metric(t, svc, "recapito_egress_failures_total")
				eventually(t, what+": the way out to fail for attempts of all", func() bool {
					return metric(t, svc, "recapito_egress_failures_total") > failures+accounts
				})
				eventually(t, what+": the operator to be told "+told, func() bool {
					for line := range strings.Lines(svc.log.String()) {
						if strings.Contains(line, "level=ERROR") && strings.Contains(line, told) {
							return true
						}
					}
					return false
				})
				if open := metric(t, svc, `recapito_lanes{health="open"}`); open != 0 {
					t.Errorf("%s: %v breakers are open, want none", what, open)
				}
				for a, key := range keys {
					if h := svc.health(key); h.State == "FAILING" || h.State == "PROBING" || h.State == "SUSPENDED" || h.LastFailure != nil || h.LastHour.Failed > 0 {
						t.Errorf("%s: the health of %s: %+v, want no failure", what, acc(a), h)
					}
				}
			}
			p.kill()
			feedMore(each)
			wantWaiting("killed", "cannot be reached")
			p.start("another-password")
			wantWaiting("another password", "the way out of this machine fails") // told at most once a minute
			p.kill()
			p.start(proxyPassword)
			eventuallyCounts(t, "all callbacks", fed, func() int { return to.count("") })
			for a, key := range keys {
				if code, changes := svc.api("GET", hook+"/health/changes", key, ""); code != http.StatusOK || strings.Contains(string(changes), "SLOWED") {
					t.Errorf("the changes of the health of %s: %d %s, want it never SLOWED", acc(a), code, changes)
				}
				for _, got := range to.of(acc(a)) {
					if got.Attempt != "1" || got.Verified != nil {
						t.Errorf("%s of %s: attempt %s, verified %v, want the first", got.ID, acc(a), got.Attempt, got.Verified)
					}
				}
			}
			if n := to.count(""); n != fed {
				t.Errorf("%d callbacks, want %d", n, fed)
			}
			p.wantUnseen(svc)
			svc.terminate()
		})
	}
}

// Callbacks leave from the operator's address. One that the machine does not have is
// refused at the start.
func TestCallbacksLeaveFromTheOperatorsAddress(t *testing.T) {
	bin, ca := build(t, false), newAuthority(t)
	to := newSink(t, ca)
	svc := serve(t, bin, "memory:", "--store", "memory:", "--callback-ca", ca.file, againSoon, "--egress-address", "127.0.0.7")
	svc.register(to, "acc", svc.account("acc"))
	feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT")}})
	eventually(t, "the callback", func() bool { return to.count("acc") > 0 })
	if got := to.of("acc")[0].From; got != "127.0.0.7" {
		t.Errorf("it came from %s, want 127.0.0.7", got)
	}
	svc.terminate()
	out, err := exec.Command(bin, "serve", "--listen", freeAddr(t), "--ops-listen", freeAddr(t), "--store", "memory:", "--egress-address", "192.0.2.7").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--egress-address: listen tcp 192.0.2.7:0: bind: cannot assign requested address") {
		t.Errorf("another machine's address: %v, want it refused:\n%s", err, out)
	}
}
