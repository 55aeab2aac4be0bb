package rig

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// line is one connection to the service that posts as cheaply as can be: the
// feeder shares the machine with what is measured.
type line struct {
	addr string
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

// NotAcceptedError is the answer to a batch that was not accepted.
type NotAcceptedError struct {
	Status     int
	RetryAfter string
	Answer     []byte
}

func (e *NotAcceptedError) Error() string {
	return fmt.Sprintf("not accepted: %d %s", e.Status, e.Answer)
}

// post sends a batch of n events and wants all of them accepted.
func (l *line) post(path string, body []byte, n int) error {
	answer, err := l.exchange(path, body)
	if err != nil {
		l.close()
		return err
	}
	var got struct{ Accepted, Duplicates int }
	if err := json.Unmarshal(answer, &got); err != nil {
		return err
	}
	if got.Accepted+got.Duplicates != n {
		return &NotAcceptedError{Status: http.StatusAccepted, Answer: answer}
	}
	return nil
}

func (l *line) exchange(path string, body []byte) ([]byte, error) {
	a, err := l.do("POST", path, "Authorization: "+bearer, body)
	if err != nil {
		return nil, err
	}
	if a.code != http.StatusAccepted {
		return nil, &NotAcceptedError{a.code, a.header.Get("Retry-After"), a.body}
	}
	return a.body, nil
}

// answer is what came back, read to its end.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// do makes a request with one header of the caller's.
func (l *line) do(method, path, header string, body []byte) (*answer, error) {
	if l.conn == nil {
		conn, err := net.DialTimeout("tcp", l.addr, 5*time.Second)
		if err != nil {
			return nil, err
		}
		l.conn, l.in = conn, bufio.NewReader(conn)
	}
	if err := l.conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return nil, err
	}
	l.out = fmt.Appendf(l.out[:0], "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, l.addr)
	if header != "" {
		l.out = append(append(l.out, header...), "\r\n"...)
	}
	if body != nil {
		l.out = fmt.Appendf(l.out, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	l.out = append(append(l.out, "\r\n"...), body...)
	if _, err := l.conn.Write(l.out); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it is read to its end
	got := &answer{code: resp.StatusCode, header: resp.Header}
	got.body, err = io.ReadAll(resp.Body)
	if resp.Close {
		l.close()
	}
	return got, err
}

func (l *line) close() {
	if l.conn != nil {
		_ = l.conn.Close() // nothing is under way on it
		l.conn = nil
	}
}
