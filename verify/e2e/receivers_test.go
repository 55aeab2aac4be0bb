//go:build contract

package e2e

import (
	"bufio"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestClientReceivers sends callbacks to a receiver in each language, which
// verifies them with its official Standard Webhooks library: by the one secret
// before a rotation, by the old and the new one after it, and never by another
// or with a changed body.
func TestClientReceivers(t *testing.T) {
	bin := build(t, false)
	for language, prepare := range map[string]func(*testing.T) prepared{
		"go": goReceiver, "node": nodeReceiver, "python": pythonReceiver,
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			ca, secrets := newAuthority(t), filepath.Join(t.TempDir(), "secrets")
			addr, lines := receive(t, prepare(t), ca, secrets)
			svc := serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file)
			key := svc.account("acc")
			code, answer := svc.api("POST", hook, key, callback("https://"+addr+"/status"))
			if code != 201 {
				t.Fatalf("POST %s: %d %s", hook, code, answer)
			}
			other := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
			first := field(t, answer, "signingSecret")
			expect := func(id, want string, known ...string) {
				t.Helper()
				if err := os.WriteFile(secrets, []byte(strings.Join(known, "\n")), 0o600); err != nil {
					t.Fatal(err)
				}
				if code, answer := svc.api("POST", "/events", bearer, batch([]string{event("acc", id, "m "+id+" ü", "SENT")})); code != 202 {
					t.Fatalf("POST /events: %d %s", code, answer)
				}
				select {
				case got := <-lines:
					if got != id+want {
						t.Errorf("the receiver says %q, want %q", got, id+want)
					}
				case <-time.After(patience):
					t.Fatalf("no callback of %s; log:\n%s", id, svc.log)
				}
			}
			expect("before", " true false false false", first, other)
			code, answer = svc.api("POST", hook+"/signing-secret", key, "")
			if code != 200 {
				t.Fatalf("POST signing-secret: %d %s", code, answer)
			}
			second := field(t, answer, "signingSecret")
			expect("during", " true false true false false false", first, second, other)
			code, answer = svc.api("POST", hook+"/signing-secret", key, "")
			if code != 200 {
				t.Fatalf("POST signing-secret: %d %s", code, answer)
			}
			expect("again", " true false true false true false", first, second, field(t, answer, "signingSecret"))
		})
	}
}

// receive starts a receiver and returns its address and the lines that it
// prints.
func receive(t *testing.T, r prepared, ca *authority, secrets string) (addr string, lines chan string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(ca.leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, r.dir, []string{"CERT=" + ca.file, "KEY=" + file, "SECRETS=" + secrets}, r.name, r.args...)
	stderr := &lockedBuffer{}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines = make(chan string, 16)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the receiver said:\n%s", stderr)
		}
	})
	select {
	case line := <-lines:
		return strings.TrimPrefix(line, "listening on "), lines
	case <-time.After(patience):
		t.Fatal("the receiver does not listen")
		return "", nil
	}
}

func goReceiver(t *testing.T) prepared {
	out := filepath.Join(scratch(t, "receiver-go"), "receiver")
	run(t, ".", nil, "go", "build", "-o", out, "./verify/contract/receivers/go")
	return prepared{".", out, nil}
}

func nodeReceiver(t *testing.T) prepared {
	return prepared{copied(t, "receiver-node", "verify/contract/receivers/node"), "node", []string{"receiver.js"}}
}

func pythonReceiver(t *testing.T) prepared {
	bin := absolute(t, tools+"/venv/bin")
	run(t, "verify/contract/receivers/python", nil, bin+"/mypy", "--strict", "--cache-dir", scratch(t, "receiver-python"), "receiver.py")
	return prepared{"verify/contract/receivers/python", bin + "/python", []string{"receiver.py"}}
}
