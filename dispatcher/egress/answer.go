package egress

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/http/httpguts"
)

// answer is the relevant part of an answer's status line and header. The status
// line decides about the event. A header that breaks RFC 9112 only costs the
// connection, as the end of such an answer is unknown.
type answer struct {
	status     int
	length     int64 // of the body; -1: not told
	chunked    bool
	last       bool          // it says so, is not HTTP/1.1, or ends nobody knows where
	retryAfter string        // of a failed answer
	location   string        // of a redirect
	keepAlive  time.Duration // how long the receiver keeps the connection; 0: not told
	header     []byte        // the first lines of a failed one, see [answer.keep]
	concealing bool          // the last of them has no value there
	challenges bool          // a proxy's asks for credentials
}

var (
	errTooLarge  = errors.New("the answer's header is too large")
	errNotHTTP   = errors.New("the answer is not HTTP")
	errBadStatus = errors.New("the answer's status is none")
)

// readAnswer reads a status line and header. It reads only the beginning of one
// that is too large.
func readAnswer(b *buffers) (answer, error) {
	a := answer{length: -1}
	line, _, err := b.line()
	if err == nil || !isHTTP(line) {
		err = a.parseStatus(line)
	}
	a.keep(line)
	if err != nil {
		return a, err
	}
	for {
		line, cut, err := b.line()
		a.keep(line)
		switch {
		case errors.Is(err, errTooLarge) && a.status >= http.StatusOK:
			a.last = true
			return a, nil
		case err != nil:
			return a, err
		case len(line) == 0:
			a.last = a.last || a.chunked && a.length >= 0
			return a, nil
		}
		a.parseField(line, cut)
	}
}

// isHTTP reports whether a line, as far as it was read, begins like an HTTP
// status line.
func isHTTP(line []byte) bool { return strings.HasPrefix("HTTP/", string(line[:min(len(line), 5)])) }

// parseStatus takes "HTTP/1.1 200" with anything behind it.
func (a *answer) parseStatus(line []byte) error {
	version, status, _ := bytes.Cut(line, []byte(" "))
	if !isHTTP(version) || len(version) != len("HTTP/1.1") || version[6] != '.' || !isDigits(version[5:6]) || !isDigits(version[7:]) {
		return errNotHTTP
	}
	status = bytes.TrimLeft(status, " ")
	if len(status) < 3 || !isDigits(status[:3]) || len(status) > 3 && status[3] != ' ' {
		return errBadStatus
	}
	a.status = int(status[0]-'0')*100 + int(status[1]-'0')*10 + int(status[2]-'0')
	if a.status < http.StatusContinue {
		a.status = 0
		return errBadStatus
	}
	a.last = string(version) != "HTTP/1.1"
	return nil
}

// parseField parses a header line, or the beginning of a long one.
func (a *answer) parseField(line []byte, cut bool) {
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found || !isToken(name) || !isText(value) {
		a.last = true
		return
	}
	value = bytes.Trim(value, " \t")
	switch {
	case is(name, "Content-Length"):
		a.parseLength(value, cut)
	case is(name, "Transfer-Encoding"):
		a.chunked = !a.chunked && !cut && is(value, "chunked")
		a.last = a.last || !a.chunked
	case is(name, "Connection"):
		a.last = a.last || cut
		for option := range bytes.SplitSeq(value, []byte(",")) {
			a.last = a.last || is(bytes.Trim(option, " \t"), "close")
		}
	case is(name, "Keep-Alive") && !cut:
		a.parseKeepAlive(value)
	case is(name, "Proxy-Authenticate"):
		a.challenges = true
	case is(name, "Retry-After") && a.status >= 300:
		a.retryAfter = string(value)
	case is(name, "Location") && a.status >= 300 && a.status <= 399:
		a.location = printable(value)
	}
}

func (a *answer) parseLength(value []byte, cut bool) {
	if cut || a.length >= 0 || len(value) == 0 || len(value) > 15 || !isDigits(value) {
		a.last = true
		return
	}
	a.length = 0
	for _, digit := range value {
		a.length = 10*a.length + int64(digit-'0')
	}
}

// parseKeepAlive takes "timeout=5, max=100", in seconds.
func (a *answer) parseKeepAlive(value []byte) {
	for parameter := range bytes.SplitSeq(value, []byte(",")) {
		name, text, _ := bytes.Cut(bytes.Trim(parameter, " \t"), []byte("="))
		if !is(name, "timeout") || len(text) == 0 || len(text) > 9 || !isDigits(text) {
			continue
		}
		seconds, _ := strconv.Atoi(string(text))
		a.keepAlive = time.Duration(seconds) * time.Second
		a.last = a.last || seconds == 0
	}
}

// concealed are the fields whose values open something of the receiver's. Nobody
// who reads a delivery needs them.
var concealed = []string{"Set-Cookie", "Cookie", "Authorization", "Proxy-Authorization", "Authentication-Info", "Proxy-Authentication-Info"}

// keep keeps the status line of an answer that is no acknowledgement, or what
// stands in its place, and a line of its header.
func (a *answer) keep(line []byte) {
	if a.acknowledges() || a.status >= http.StatusContinue && a.status < http.StatusOK && a.status != http.StatusSwitchingProtocols ||
		len(line) == 0 || len(a.header) >= excerptSize {
		return
	}
	if a.header == nil {
		a.header = make([]byte, 0, excerptSize)
	}
	name, _, _ := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	folded := line[0] == ' ' || line[0] == '\t'
	if a.concealing = a.concealing && folded || slices.ContainsFunc(concealed, func(c string) bool { return is(name, c) }); a.concealing {
		if folded {
			return
		}
		line = append(bytes.Clone(name), ": (left out)"...)
	}
	line = line[:min(len(line), excerptSize-len(a.header))]
	a.header = append(a.header, line...)
	if len(a.header) < excerptSize {
		a.header = append(a.header, '\n')
	}
}

// lines makes a text that can be shown of what was kept.
func lines(header []byte) string {
	var shown []string
	for line := range bytes.Lines(header) {
		shown = append(shown, printable(bytes.TrimSuffix(line, []byte("\n"))))
	}
	return strings.Join(shown, "\n")
}

// bodyless: nothing follows the header, whatever it says.
func (a *answer) bodyless() bool {
	return a.length == 0 && !a.chunked || a.status == http.StatusNoContent || a.status == http.StatusNotModified
}

// reusable reports whether the end of this answer is known, so that another can
// follow.
func (a *answer) reusable() bool {
	return !a.last && (a.bodyless() || a.chunked || a.length >= 0 && a.length <= maxBody)
}

func (a *answer) acknowledges() bool { return a.status >= 200 && a.status <= 299 }

// trailer reads what follows the last chunk.
func (b *buffers) trailer() error {
	for {
		if line, _, err := b.line(); err != nil || len(line) == 0 {
			return err
		}
	}
}

// line reads a line and returns it without its end, or the beginning of a long
// one.
func (b *buffers) line() (line []byte, cut bool, err error) {
	line, err = b.in.ReadSlice('\n')
	if cut = errors.Is(err, bufio.ErrBufferFull); cut {
		line = b.skip[:copy(b.skip[:], line)]
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = b.in.ReadSlice('\n')
		}
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), cut, err
}

// printable makes a text that can be shown of a receiver's bytes: of bounded
// length, without invalid UTF-8 and without invisible characters.
func printable(text []byte) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, string(text[:min(len(text), maxLocation)]))
}

func is(text []byte, word string) bool { return bytes.EqualFold(text, []byte(word)) }

func isDigits(text []byte) bool {
	for _, b := range text {
		if b < '0' || b > '9' {
			return false
		}
	}
	return true
}

func isToken(text []byte) bool {
	for _, b := range text {
		if !httpguts.IsTokenRune(rune(b)) {
			return false
		}
	}
	return len(text) > 0
}

func isText(text []byte) bool {
	for _, b := range text {
		if b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}
