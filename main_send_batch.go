package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/recapito/recapito/gen/client"
)

// The limits of POST /events.
const (
	batchEvents = 1000
	batchBytes  = 1 << 20
)

// The body of POST /events is these around the events, with commas between.
var batchHead, batchTail = []byte(`{"events":[`), []byte(`]}`)

// eventLine is one event with its place in the input, from 1.
type eventLine struct {
	number int
	text   []byte // a JSON object
}

// batch is what one request carries.
type batch []eventLine

func (b batch) body() []byte {
	texts := make([][]byte, len(b))
	for i, l := range b {
		texts[i] = l.text
	}
	return append(append(append([]byte{}, batchHead...), bytes.Join(texts, []byte{','})...), batchTail...)
}

// name says which lines it holds.
func (b batch) name() string {
	if len(b) == 1 {
		return fmt.Sprintf("line %d", b[0].number)
	}
	return fmt.Sprintf("lines %d to %d", b[0].number, b[len(b)-1].number)
}

// newLines reads lines of at most what one request can carry.
func newLines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, batchBytes)
	return s
}

// batchReader makes batches of NDJSON.
type batchReader struct {
	in      *bufio.Scanner
	account string // in place of each event's own, unless empty
	most    int    // events in a batch

	number int        // of the line read last
	held   *eventLine // read, but did not fit
}

// next returns the next batch and [io.EOF] after the last one. A line that is
// not an event is an error that names it.
func (r *batchReader) next() (batch, error) {
	var b batch
	size := len(batchHead) + len(batchTail)
	for len(b) < r.most {
		l, err := r.line()
		if errors.Is(err, io.EOF) && len(b) > 0 {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		if size += len(l.text) + 1; size > batchBytes && len(b) > 0 {
			r.held = l
			return b, nil
		}
		b = append(b, *l)
	}
	return b, nil
}

// line returns the next line that is not blank.
func (r *batchReader) line() (*eventLine, error) {
	if l := r.held; l != nil {
		r.held = nil
		return l, nil
	}
	for r.in.Scan() {
		r.number++
		text := bytes.TrimSpace(r.in.Bytes())
		if r.number == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if len(text) == 0 {
			continue
		}
		text, err := checkEvent(text, r.account)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", r.number, err)
		}
		return &eventLine{number: r.number, text: text}, nil
	}
	if err := r.in.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d: is longer than 1 MiB", r.number+1)
	} else if err != nil {
		return nil, fmt.Errorf("line %d: %w", r.number+1, err)
	}
	return nil, io.EOF
}

// checkEvent returns a copy of text if it is the JSON of an event, for the
// given account unless that is empty. What the members hold is for the server
// to judge.
func checkEvent(text []byte, account string) ([]byte, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var e client.EventInput
	if err := decoder.Decode(&e); err != nil {
		return nil, fmt.Errorf("is not an event: %w", err)
	}
	if rest := bytes.TrimSpace(text[decoder.InputOffset():]); len(rest) > 0 {
		return nil, errors.New("is not an event: something follows the object")
	}
	if account == "" {
		return bytes.Clone(text), nil
	}
	e.AccountID = account
	return json.Marshal(e)
}
