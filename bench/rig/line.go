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
	l.out = fmt.Appendf(l.out[:0], "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, l.addr, bearer, len(body))
	l.out = append(l.out, body...)
	if _, err := l.conn.Write(l.out); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusAccepted:
		return nil, fmt.Errorf("%w: %d %s", errNotAccepted, resp.StatusCode, answer)
	case resp.Close:
		l.close()
	}
	return answer, nil
}

func (l *line) close() {
	if l.conn != nil {
		_ = l.conn.Close() // nothing is under way on it
		l.conn = nil
	}
}
