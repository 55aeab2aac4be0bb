//go:build contract

package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// samplePath is where the samples of code receive.
const samplePath = "/hooks/delivery-status"

// TestClientConsoleSamples runs the code that the console shows for verifying callbacks, in the
// languages whose tools are here: it takes what is genuine, and refuses what somebody has changed,
// what another secret has signed, and what is too old. The frameworks of the first two are replaced
// by what verify/contract/samples has.
func TestClientConsoleSamples(t *testing.T) {
	const samples = "verify/contract/samples/"
	for language, prepare := range map[string]func(t *testing.T, dir, port, code string) prepared{
		"Node.js": func(t *testing.T, dir, port, code string) prepared {
			write(t, dir+"/node_modules/express/package.json", `{"type": "module", "exports": "./express.js"}`)
			write(t, dir+"/node_modules/express/express.js", read(t, samples+"express.js"))
			write(t, dir+"/main.mjs", strings.Replace(code, "listen(3000)", "listen("+port+")", 1)+"\nfunction handle() {}\n")
			return prepared{dir, "node", []string{"main.mjs"}}
		},
		"Python": func(t *testing.T, dir, port, code string) prepared {
			write(t, dir+"/flask.py", read(t, samples+"flask.py"))
			write(t, dir+"/main.py", code+"\n\ndef handle(event): pass\n\napp.run("+port+")\n")
			return prepared{dir, absolute(t, tools+"/venv/bin/python"), []string{"main.py"}}
		},
		"Go": func(t *testing.T, dir, port, code string) prepared {
			write(t, dir+"/main.go", filled(t, samples+"main.go.txt", port, code))
			run(t, ".", nil, "go", "build", "-o", dir+"/main", dir+"/main.go")
			return prepared{dir, dir + "/main", nil}
		},
		"Java": func(t *testing.T, dir, port, code string) prepared {
			write(t, dir+"/Main.java", filled(t, samples+"Main.java", port, code))
			return prepared{dir, "java", []string{"Main.java"}}
		},
	} {
		t.Run(language, func(t *testing.T) {
			dir := scratch(t, "sample-"+strings.ToLower(strings.TrimSuffix(language, ".js")))
			write(t, dir+"/verify.mjs", read(t, "server/console/app/verify.js"))
			code := run(t, dir, nil, "node", "--input-type=module", "-e",
				fmt.Sprintf(`import { sample } from './verify.mjs'; process.stdout.write(sample(%q, 'https://example.com%s'))`, language, samplePath))
			addr := freeAddr(t)
			_, port, _ := strings.Cut(addr, ":")
			p := prepare(t, dir, port, code)
			secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("the secret of an account, 32 byt"))
			startBeside(t, "the sample:\n"+code+"\n", command(t, p.dir, []string{"WEBHOOK_SECRET=" + secret}, p.name, p.args...))
			wantVerified(t, "http://"+addr+samplePath, secret)
		})
	}
}

// wantVerified fails the test unless the receiver answers 204 to what is genuine, and 401 to the rest.
func wantVerified(t *testing.T, url, secret string) {
	t.Helper()
	const id, body = "evt_1", `{"eventId":"evt_1","description":"für \"Sie\" 𝄞"}`
	other := "whsec_" + base64.StdEncoding.EncodeToString([]byte("the secret of another, of 32 byt"))
	now := time.Now()
	own, foreign := signed(t, secret, id, now, body), signed(t, other, id, now, body)
	for i, tt := range []struct {
		name, id, signature, body string
		at                        time.Time
		want                      int
	}{
		{"genuine", id, own, body, now, http.StatusNoContent},
		{"after a rotation", id, foreign + " " + own, body, now, http.StatusNoContent},
		{"a byte more", id, own, body + " ", now, http.StatusUnauthorized},
		{"another number", id, own, strings.Replace(body, "evt_1", "evt_2", 1), now, http.StatusUnauthorized},
		{"another id", "evt_2", own, body, now, http.StatusUnauthorized},
		{"another time", id, own, body, now.Add(-time.Second), http.StatusUnauthorized},
		{"another secret", id, foreign, body, now, http.StatusUnauthorized},
		{"no signature", id, "", body, now, http.StatusUnauthorized},
		{"ten minutes old", id, signed(t, secret, id, now.Add(-10*time.Minute), body), body, now.Add(-10 * time.Minute), http.StatusUnauthorized},
		{"of the future", id, signed(t, secret, id, now.Add(time.Hour), body), body, now.Add(time.Hour), http.StatusUnauthorized},
		{"no time", id, own, body, time.Time{}, http.StatusUnauthorized},
	} {
		send := func() (int, error) {
			req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range map[string]string{"content-type": "application/json", "webhook-id": tt.id, "webhook-signature": tt.signature} {
				req.Header.Set(name, value)
			}
			if !tt.at.IsZero() {
				req.Header.Set("webhook-timestamp", strconv.FormatInt(tt.at.Unix(), 10))
			}
			resp, err := client.Do(req)
			if err != nil {
				return 0, err
			}
			resp.Body.Close()
			return resp.StatusCode, nil
		}
		if i == 0 {
			eventually(t, "the receiver to answer", func() bool { _, err := send(); return err == nil })
		}
		if got, err := send(); err != nil || got != tt.want {
			t.Errorf("%s: the receiver answers %d (%v), want %d", tt.name, got, err, tt.want)
		}
	}
}

// signed is a signature as others make it.
func signed(t *testing.T, secret, id string, at time.Time, body string) string {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.Sign(id, at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// filled is a program around a sample.
func filled(t *testing.T, file, port, code string) string {
	t.Helper()
	return strings.NewReplacer("SAMPLE", code, "PORT", port).Replace(read(t, file))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
