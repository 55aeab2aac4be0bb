//go:build unix

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
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

// crowd keeps connections open that have no key: some say nothing, some half of
// a request, some a whole one, some begin a long answer and do not read. One
// that is closed is opened again.
type crowd struct {
	done chan struct{}
	all  sync.WaitGroup
}

func gather(addr string, size int) *crowd {
	c := &crowd{done: make(chan struct{})}
	openings := []string{
		"", "GET / HTTP/1.1\r\nX-Half: ", "GET /webhooks/delivery-status HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", "GET /docs/scalar.js HTTP/1.1\r\nHost: a\r\n\r\n",
	}
	for i := range size {
		c.all.Go(func() {
			for c.hold(addr, openings[i%len(openings)]) {
			}
		})
	}
	return c
}

// hold opens one connection and waits for its end; false: the crowd goes home.
func (c *crowd) hold(addr, opening string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		_, _ = io.WriteString(conn, opening)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if !strings.Contains(opening, "scalar") {
				_, _ = io.Copy(io.Discard, conn)
				return
			}
			<-c.done // it never reads
		}()
		select {
		case <-ended:
		case <-c.done:
		}
		conn.Close()
		<-ended
	}
	select {
	case <-c.done:
		return false
	case <-time.After(200 * time.Millisecond): // no flood: it is for the connections that it holds
		return true
	}
}

func (c *crowd) goHome() {
	close(c.done)
	c.all.Wait()
}

// TestACrowdWithoutAKeyIsFeltByNobody: 2,000 connections at a limit of 1,024
// files. Events are handed in and delivered, the operator and the account are
// answered; and when the crowd has gone, as before.
func TestACrowdWithoutAKeyIsFeltByNobody(t *testing.T) {
	wantFiles(t, 4096)
	bin := build(t, false)
	ca := newAuthority(t)
	to := newSink(t, ca)
	svc := serve(t, limited(t, bin, 1024), filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file)
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
			began := time.Now()
			svc.patiently("POST", "/events", bearer, batch(events), 202)
			handed++
			eventually(t, "the callbacks", func() bool { return to.count("") >= handed*len(keys) })
			if took := time.Since(began); took > time.Second {
				t.Logf("round %d took %v", handed, took)
			}
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
	crowd := gather(strings.TrimPrefix(svc.url, "http://"), 2000)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		work(5)
	}
	crowd.goHome()
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
