// Package feed hands status events in. It reads NDJSON, makes batches of it, and POSTs
// each until the server has answered or the time for it is over. It promises that
// every line is either counted or named in an error. To send the same lines again is
// safe, as the server knows events by their id. The server alone judges what an event
// is.
package feed

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/recapito/recapito/gen/client"
)

// The limits of POST /events.
const (
	MostEvents = 1000 // in a batch
	batchBytes = 1 << 20
)

// The body of POST /events is these around the events, with commas between.
var batchHead, batchTail = []byte(`{"events":[`), []byte(`]}`)

// Line is one event with its place in the input, from 1.
type Line struct {
	Number  int
	Text    []byte // a JSON object
	account string // of the event, if it says so
}

// Batch is what one request carries.
type Batch []Line

func (b Batch) body() []byte {
	texts := make([][]byte, len(b))
	for i, l := range b {
		texts[i] = l.Text
	}
	return append(append(append([]byte{}, batchHead...), bytes.Join(texts, []byte{','})...), batchTail...)
}

// Batches cuts lines into batches of at most so many events, each at most as long as
// a request may be. A line that is longer stands alone.
func Batches(lines []Line, most int) (batches []Batch) {
	size := 0
	for _, l := range lines {
		last := len(batches) - 1
		if last < 0 || len(batches[last]) >= most || size+len(l.Text)+1 > batchBytes {
			batches, size = append(batches, nil), len(batchHead)+len(batchTail)
			last++
		}
		batches[last] = append(batches[last], l)
		size += len(l.Text) + 1
	}
	return batches
}

// name says which lines it holds.
func (b Batch) name() string {
	if len(b) == 1 {
		return fmt.Sprintf("line %d", b[0].Number)
	}
	return fmt.Sprintf("lines %d to %d", b[0].Number, b[len(b)-1].Number)
}

// inWords is a reason in words, for an event of the account.
func inWords(reason client.SkipReason, account string) string {
	switch reason {
	case client.SkipReasonNOWEBHOOK:
		return fmt.Sprintf("%s, account %s has no webhook", reason, account)
	case client.SkipReasonUNKNOWNACCOUNT:
		return fmt.Sprintf("%s, there is no account %s", reason, account)
	case client.SkipReasonIDREUSED:
		return fmt.Sprintf("%s, account %s has another event with this id", reason, account)
	case client.SkipReasonACCOUNTUNREADABLE:
		return fmt.Sprintf("%s, the server cannot read the webhook of account %s", reason, account)
	case client.SkipReasonOVERQUOTA:
		return fmt.Sprintf("%s, as much as may waits for account %s", reason, account)
	}
	return string(reason)
}

// skips names the lines that the server skipped, those that follow each other for
// the same reason together.
func (b Batch) skips(skipped []client.SkippedEvent) string {
	var out strings.Builder
	slices.SortFunc(skipped, func(a, b client.SkippedEvent) int { return cmp.Compare(a.Index, b.Index) })
	for len(skipped) > 0 {
		first, n := skipped[0], 1
		at := int(first.Index)
		if at < 0 || at >= len(b) {
			return out.String() // not of this batch
		}
		for n < len(skipped) && at+n < len(b) && int(skipped[n].Index) == at+n &&
			skipped[n].Reason == first.Reason && b[at+n].account == b[at].account {
			n++
		}
		fmt.Fprintf(&out, "%s skipped: %s\n", b[at:at+n].name(), inWords(first.Reason, b[at].account))
		skipped = skipped[n:]
	}
	return out.String()
}

// Reader makes batches of NDJSON.
type Reader struct {
	in      *bufio.Scanner
	account string // in place of each event's own, unless empty
	most    int    // events in a batch

	number int   // of the line read last
	held   *Line // read, but did not fit
}

// NewReader reads lines of at most what one request can carry, and makes batches of
// at most so many events. Each is the given account's, whatever it says, unless
// account is empty.
func NewReader(in io.Reader, account string, most int) *Reader {
	s := bufio.NewScanner(in)
	s.Buffer(nil, batchBytes)
	return &Reader{in: s, account: account, most: most}
}

// Next returns the next batch, and [io.EOF] after the last one. A line that is
// not an event is an error that names the line.
func (r *Reader) Next() (Batch, error) {
	var b Batch
	size := len(batchHead) + len(batchTail)
	for len(b) < r.most {
		l, err := r.line()
		if errors.Is(err, io.EOF) && len(b) > 0 {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		if size += len(l.Text) + 1; size > batchBytes && len(b) > 0 {
			r.held = l
			return b, nil
		}
		b = append(b, *l)
	}
	return b, nil
}

// line returns the next line that is not blank.
func (r *Reader) line() (*Line, error) {
	if l := r.held; l != nil {
		r.held = nil
		return l, nil
	}
	for r.in.Scan() {
		r.number++
		text := r.in.Bytes()
		if r.number == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		l, err := readEvent(text, r.account)
		if err != nil {
			return nil, fmt.Errorf("line %d%w", r.number, err)
		}
		l.Number = r.number
		return l, nil
	}
	if err := r.in.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d: is longer than 1 MiB", r.number+1)
	} else if err != nil {
		return nil, fmt.Errorf("line %d: %w", r.number+1, err)
	}
	return nil, io.EOF
}

// readEvent copies text if it is a JSON object, for the given account unless
// that is empty. The server judges the members.
func readEvent(text []byte, account string) (*Line, error) {
	var members map[string]jsontext.Value
	err := json.Unmarshal(text, &members)
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return nil, notJSON(text, syntax)
	}
	if err != nil || members == nil {
		return nil, errors.New(": must be a JSON object")
	}
	if account == "" {
		_ = json.Unmarshal(members["accountId"], &account) // the server judges it
		return &Line{Text: bytes.TrimSpace(bytes.Clone(text)), account: account}, nil
	}
	if members["accountId"], err = jsontext.AppendQuote(nil, account); err != nil {
		return nil, fmt.Errorf(": --account-id: %w", err)
	}
	text, err = json.Marshal(members, json.Deterministic(true))
	return &Line{Text: text, account: account}, err
}

// notJSON says where text stops being JSON, and why. It continues "line 1".
func notJSON(text []byte, e *jsontext.SyntacticError) error {
	at := min(int(e.ByteOffset), len(text))
	says := "the line ends within the object"
	switch rest := text[at:]; {
	case errors.Is(e, jsontext.ErrDuplicateName):
		says = fmt.Sprintf("the member %q stands twice", e.JSONPointer.LastToken())
	case len(rest) > 0:
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			says = "this is not UTF-8"
			break
		}
		says = fmt.Sprintf("%q must not stand here", r)
	}
	return fmt.Errorf(", column %d: is not JSON: %s", utf8.RuneCount(text[:at])+1, says)
}
