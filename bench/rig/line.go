package rig

import (
	"bufio"
	"encoding/json"
	"errors"
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

var errNotAccepted = errors.New("not accepted")

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
		return fmt.Errorf("%w: %s of %d", errNotAccepted, answer, n)
	}
	return nil
}

func (l *line) exchange(path string, body []byte) ([]byte, error) {
	code, answer, err := l.do("POST", path, "Authorization: "+bearer, body)
	if err == nil && code != http.StatusAccepted {
		err = fmt.Errorf("%w: %d %s", errNotAccepted, code, answer)
	}
	return answer, err
}

// do makes a request with one header of the caller's.
func (l *line) do(method, path, header string, body []byte) (code int, answer []byte, err error) {
	if l.conn == nil {
		conn, err := net.DialTimeout("tcp", l.addr, 5*time.Second)
		if err != nil {
			return 0, nil, err
		}
		l.conn, l.in = conn, bufio.NewReader(conn)
	}
	if err := l.conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return 0, nil, err
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
		return 0, nil, err
	}
	resp, err := http.ReadResponse(l.in, nil) //nolint:bodyclose // nothing is left of it: it is read to its end
	if err != nil {
		return 0, nil, err
	}
	answer, err = io.ReadAll(resp.Body)
	if resp.Close {
		l.close()
	}
	return resp.StatusCode, answer, err
}

func (l *line) close() {
	if l.conn != nil {
		_ = l.conn.Close() // nothing is under way on it
		l.conn = nil
	}
}
