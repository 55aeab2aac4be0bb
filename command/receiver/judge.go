package receiver

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/recapito/recapito/dispatcher/signature"
)

// Fault is why a callback is not genuine.
type Fault string

// The faults, in the order in which they are looked for. Of the last two, which look the
// same to a verifier, the body says which is likely.
const (
	HeaderMissing   Fault = "HEADER_MISSING"
	HeaderMalformed Fault = "HEADER_MALFORMED"
	TimeOff         Fault = "TIME_OFF"       // the signature is right, but too old or too new
	BodyRewritten   Fault = "BODY_REWRITTEN" // another form of the same body is genuine
	BodyAltered     Fault = "BODY_ALTERED"
	WrongSecret     Fault = "WRONG_SECRET"
)

// Judgement says whether a callback is genuine, and if not why.
type Judgement struct {
	Fault Fault // empty: it is genuine
	// Reason says in one sentence what was found, and what to do.
	Reason string
	// Secret is which of the secrets made the signature, from 1; 0: none.
	Secret int
	// Signed is the time that the callback says it was signed at.
	Signed time.Time
}

const (
	idHeader        = "webhook-id"
	timeHeader      = "webhook-timestamp"
	signatureHeader = "webhook-signature"
)

// Judge looks into a callback more closely than [signature.Verify], which is what
// decides: it is genuine by both or by neither. now is when it arrived.
func Judge(secrets [][]byte, header http.Header, body []byte, now time.Time) Judgement {
	if j, ok := judgeHeader(header); !ok {
		return j
	}
	seconds, _ := strconv.ParseInt(header.Get(timeHeader), 10, 64) // judged
	j := Judgement{Signed: time.Unix(seconds, 0)}
	if j.Secret = madeBy(secrets, header, body, j.Signed); j.Secret == 0 {
		j.Fault, j.Reason = judgeBody(secrets, header, body, j.Signed)
		return j
	}
	if err := signature.Verify(secrets, header, body, now); err != nil {
		j.Fault, j.Reason = TimeOff, timeOff(now.Sub(j.Signed))
		return j
	}
	j.Reason = fmt.Sprintf("signed %s before it arrived", now.Sub(j.Signed).Round(time.Second))
	return j
}

func judgeHeader(header http.Header) (j Judgement, ok bool) {
	var missing []string
	for _, name := range []string{idHeader, timeHeader, signatureHeader} {
		if header.Get(name) == "" {
			missing = append(missing, name)
		}
	}
	bad := func(f Fault, format string, args ...any) (Judgement, bool) {
		return Judgement{Fault: f, Reason: fmt.Sprintf(format, args...)}, false
	}
	switch len(missing) {
	case 0:
	case 1:
		return bad(HeaderMissing, "%s is missing: pass on all three headers, webhook-id, webhook-timestamp and webhook-signature", missing[0])
	default:
		return bad(HeaderMissing, "%s are missing: pass on all three headers", strings.Join(missing, " and "))
	}
	if _, err := strconv.ParseInt(header.Get(timeHeader), 10, 64); err != nil {
		return bad(HeaderMalformed, "%s is not a number of seconds since 1970: pass it on as it came", timeHeader)
	}
	for text := range strings.FieldsSeq(header.Get(signatureHeader)) {
		encoded, known := strings.CutPrefix(text, "v1,")
		if digest, err := base64.StdEncoding.DecodeString(encoded); known && err == nil && len(digest) == 32 {
			return Judgement{}, true
		}
	}
	return bad(HeaderMalformed, "%s has no signature of the form v1,BASE64: pass it on as it came", signatureHeader)
}

// madeBy is which secret, from 1, made one of the signatures, whatever the time.
func madeBy(secrets [][]byte, header http.Header, body []byte, signed time.Time) int {
	return 1 + slices.IndexFunc(secrets, func(secret []byte) bool {
		return signature.Verify([][]byte{secret}, header, body, signed) == nil
	})
}

func timeOff(age time.Duration) string {
	limit := signature.Tolerance.Minutes()
	if age < 0 {
		return fmt.Sprintf("the signature matches, but it was signed %s after it arrived, and %.0f min are allowed: set your clock", (-age).Round(time.Second), limit)
	}
	return fmt.Sprintf("the signature matches, but it was signed %s before now, and %.0f min are allowed: set your clock, or say with --arrived when it arrived", age.Round(time.Second), limit)
}

// judgeBody says why no signature matches.
func judgeBody(secrets [][]byte, header http.Header, body []byte, signed time.Time) (Fault, string) {
	for _, form := range forms {
		if was := form.of(body); was != nil && !bytes.Equal(was, body) && madeBy(secrets, header, was, signed) > 0 {
			return BodyRewritten, form.reason
		}
	}
	var event struct {
		ID string `json:"eventId"`
	}
	switch err := json.Unmarshal(body, &event); {
	case len(body) == 0:
		return BodyAltered, "the body is empty: it was read before, perhaps by a parser of your framework; verify the raw body first"
	case err != nil:
		return BodyAltered, "the body is not JSON: it was cut, or is not the raw body"
	case event.ID != header.Get(idHeader):
		return BodyAltered, fmt.Sprintf("the body is of event %q, but webhook-id is %q: header and body are of two callbacks, or one was altered", event.ID, header.Get(idHeader))
	case sorted(body):
		return BodyAltered, "the members of the body are sorted by name: it was parsed and written anew; verify the raw bytes"
	case !bytes.Equal(written(body), body):
		return BodyAltered, "the body was written anew, with other spaces or escapes, and something else was altered; verify the raw bytes"
	}
	return WrongSecret, fmt.Sprintf("no signature matches, and the body looks as it is sent: another secret is right, or a value was altered (%d tried)", len(secrets))
}

// forms are what a body becomes on its way to a verifier; of gives back what it was.
var forms = []struct {
	of     func([]byte) []byte
	reason string
}{
	{func(b []byte) []byte { return bytes.TrimRight(b, "\r\n") }, "the body has a line end that was not sent: save it without one"},
	{func(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\ufeff")) }, "the body begins with a byte order mark that was not sent: save it without one"},
	{written, "the body was parsed and written anew, with other spaces or escapes: verify the raw bytes, before any parser"},
}

// written is a JSON text as we send it: in its order, without spaces, nothing escaped
// that need not be. Nil: it is not JSON.
func written(text []byte) []byte {
	d := jsontext.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	var out bytes.Buffer
	e := jsontext.NewEncoder(&out)
	for {
		token, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
		}
		if err != nil || e.WriteToken(token) != nil {
			return nil
		}
	}
}

// sorted tells whether the members of an object stand in the order of their names,
// which is not that of our bodies.
func sorted(text []byte) bool {
	const few = 10 // as many can be in that order by chance
	var names []string
	for d := jsontext.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.ReadToken()
		if err != nil {
			return len(names) > few && slices.IsSorted(names)
		}
		if kind, n := d.StackIndex(d.StackDepth()); d.StackDepth() == 1 && kind == '{' && n%2 == 1 {
			names = append(names, token.String())
		}
	}
}
