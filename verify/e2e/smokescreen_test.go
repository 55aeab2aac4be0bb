//go:build contract && linux

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const smokescreenVersion = "v0.1.0"

// smokescreen is the proxy that senders of webhooks use: it looks names up itself, and
// refuses what is not public. The test installs it, once, in a module of its own.
func smokescreen(t *testing.T, flags ...string) *forwardProxy {
	t.Helper()
	dir := absolute(t, filepath.Join(".cache", "smokescreen-"+smokescreenVersion))
	if _, err := os.Stat(filepath.Join(dir, "smokescreen")); err != nil {
		cmd := exec.Command("go", "install", "github.com/stripe/smokescreen@"+smokescreenVersion)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go install smokescreen: %v\n%s", err, out)
		}
	}
	p := &forwardProxy{t: t, scheme: "http", addr: freeAddr(t)}
	p.with = func(string) *exec.Cmd {
		_, port, _ := net.SplitHostPort(p.addr)
		return exec.Command(filepath.Join(dir, "smokescreen"), append([]string{"--listen-ip", "127.0.0.1", "--listen-port", port}, flags...)...)
	}
	return p
}

// Where Smokescreen looks names up, what it lets through arrives, and what it denies
// is the endpoint's: the account is told that it may not be called.
func TestContractSmokescreenDecides(t *testing.T) {
	bin := build(t, false)
	for flag, arrives := range map[string]bool{"--allow-range=127.0.0.0/8": true, "--timeout=10s": false} {
		t.Run(flag, func(t *testing.T) {
			ca := newAuthority(t)
			to := newSink(t, ca)
			p := smokescreen(t, flag)
			p.start("")
			svc := serve(t, bin, "memory:", "--store", "memory:", "--callback-ca", ca.file, againSoon, "--egress-proxy-file", p.file(), "--egress-proxy-resolves")
			key := svc.registerAt(to, "acc", "localhost")
			feed(t, svc, 1, [][]string{{event("acc", "e1", "m1", "SENT")}})
			if arrives {
				eventually(t, "the callback", func() bool { return to.count("acc") == 1 })
			} else {
				eventually(t, "the attempt to be denied", func() bool {
					return strings.Contains(svc.attempts(key, "e1"), `"DESTINATION_REFUSED" "NETWORK_DENIED"`)
				})
				if n := to.count("acc"); n > 0 {
					t.Errorf("%d callbacks, want none", n)
				}
			}
			svc.terminate()
		})
	}
}
