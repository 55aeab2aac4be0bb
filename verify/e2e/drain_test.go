package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// connection is a TCP connection to the service, written to byte by byte.
type connection struct {
	net.Conn
	t    *testing.T
	from *bufio.Reader
}

func (s *service) dial() *connection {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	return &connection{c, s.t, bufio.NewReader(c)}
}

func (c *connection) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatalf("write %.40q…: %v", text, err)
	}
}

func (c *connection) answer() (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.from, nil)
	if err != nil {
		c.t.Fatalf("read the answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("read the answer: %v", err)
	}
	return resp, string(body)
}

// wantEnd fails the test unless the service has closed the connection.
func (c *connection) wantEnd(what string) {
	c.t.Helper()
	if b, err := c.from.ReadByte(); err == nil || os.IsTimeout(err) {
		c.t.Errorf("%s: read %q, %v; want the connection closed", what, b, err)
	}
}

// At SIGTERM, a request that is under way is taken in and answered, and its
// answer tells the client to go elsewhere; idle connections are closed, new
// ones refused.
func TestDrainAnswersWhatIsUnderWay(t *testing.T) {
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"))
	key := svc.account("acc")
	svc.api("POST", hook, key, callback("https://example.com/status"))

	idle := svc.dial()
	idle.send("GET " + hook + " HTTP/1.1\r\nHost: a\r\nX-API-Key: " + key + "\r\n\r\n")
	if resp, _ := idle.answer(); resp.StatusCode != 200 || resp.Close {
		t.Fatalf("before: %d, closing: %t; want a 200 on a connection that is kept", resp.StatusCode, resp.Close)
	}
	body := batch([]string{event("acc", "e1", "m1", "SENT")})
	slow := svc.dial()
	slow.send(fmt.Sprintf("POST /events HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", bearer, len(body)))
	if resp, _ := slow.answer(); resp.StatusCode != http.StatusContinue {
		t.Fatalf("the head: %d, want 100: the request is under way", resp.StatusCode)
	}

	if err := svc.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	eventually(t, "/readyz to say that it drains", func() bool {
		code, _ := get(t, svc.ops+"/readyz")
		return code == http.StatusServiceUnavailable
	})
	idle.wantEnd("the idle connection")
	eventually(t, "new connections to be refused", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(svc.url, "http://"))
		if err == nil {
			c.Close()
		}
		return err != nil
	})

	slow.send(body)
	resp, answer := slow.answer()
	if resp.StatusCode != http.StatusAccepted || !resp.Close {
		t.Errorf("the request under way: %d, Connection: close: %t, %s; want a 202 that closes", resp.StatusCode, resp.Close, answer)
	}
	slow.wantEnd("the connection of the request under way")
	if err := <-svc.exited; err != nil {
		t.Errorf("the service ended with %v; log:\n%s", err, svc.log)
	}
	svc.exited <- nil
}

// TestASlowBodyDoesNotSpoilACleanStop: its client is cut off when the time for
// requests under way is over, and the exit is 0.
func TestASlowBodyDoesNotSpoilACleanStop(t *testing.T) {
	t.Parallel() // it waits
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"))
	c := svc.dial()
	c.send("POST /events HTTP/1.1\r\nHost: a\r\nAuthorization: " + bearer + "\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	// The head is read when another request has been answered after it.
	svc.api("GET", "/accounts/nobody", bearer, "")
	svc.terminate()
	if _, err := io.Copy(io.Discard, c.from); os.IsTimeout(err) {
		t.Errorf("the connection: got %v, want it closed", err)
	}
}
