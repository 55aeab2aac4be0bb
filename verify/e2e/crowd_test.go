//go:build unix

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/recapito/recapito/verify/rig"
)

// limited is a program that runs the binary with so many open files.
func limited(t *testing.T, bin string, files int) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "limited")
	text := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec %s \"$@\"\n", files, bin)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return script
}

// TestACrowdWithoutAKeyIsFeltByNobody: 2,000 connections at a limit of 1,024
// files. Events are handed in and delivered, the operator and the account are
// answered; and when the crowd has gone, as before. How soon, the scenario crowd
// of verify/faults measures.
func TestACrowdWithoutAKeyIsFeltByNobody(t *testing.T) {
	wantFiles(t, 4096)
	bin := build(t, false)
	ca := newAuthority(t)
	to := newSink(t, ca)
	svc := serve(t, limited(t, bin, 1024), filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file, againSoon)
	var keys []string
	for i := range 4 {
		keys = append(keys, svc.account(acc(i)))
		svc.register(to, acc(i), keys[i])
	}
	handed := 0
	work := func(rounds int) {
		for range rounds {
			var events []string
			for i := range keys {
				events = append(events, event(acc(i), fmt.Sprintf("evt_%d_%d", handed, i), "m", "SENT"))
			}
			svc.patiently("POST", "/events", bearer, batch(events), 202)
			handed++
			eventually(t, "the callbacks", func() bool { return to.count("") >= handed*len(keys) })
			svc.patiently("GET", hook, keys[handed%len(keys)], "", 200)
			resp, err := http.Get(svc.ops + "/readyz")
			if err != nil {
				t.Fatalf("GET /readyz: %v", err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Fatalf("GET /readyz: got %d, want 200", resp.StatusCode)
			}
		}
	}
	work(1)
	const size = 2000
	strangers := rig.Invite(strings.TrimPrefix(svc.url, "http://"), size)
	work(1) // while they come
	eventually(t, "the crowd", func() bool { return strangers.Came() >= size })
	work(20)
	strangers.Leave()
	work(3)
	svc.terminate()
}

// patiently repeats a request whose connection was closed before it was
// answered, as clients do.
func (s *service) patiently(method, path, credential, body string, want int) {
	s.t.Helper()
	var code int
	var answer []byte
	var err error
	eventually(s.t, method+" "+path, func() bool {
		code, answer, err = s.try(method, path, credential, body)
		return err == nil
	})
	if code != want {
		s.t.Fatalf("%s %s: got %d %s, want %d", method, path, code, answer, want)
	}
}
