package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server/conform"
)

// validateBody reads the body, validates it and leaves it on the request for
// the [binder].
func validateBody(o *operation, r *http.Request) error {
	text, err := readBody(o, r)
	if err != nil {
		return err
	}
	r.Body = validBody{io.NopCloser(bytes.NewReader(text)), text}
	if len(text) == 0 {
		if o.bodyRequired {
			return o.refuse(http.StatusBadRequest, gen.ProblemCodeBODYMISSING, "A request body is required.")
		}
		return nil
	}
	if err := checkHeaders(o, r.Header); err != nil {
		return err
	}
	bad := o.body.Check(text)
	if bad == nil {
		return nil
	}
	if o.examine != nil && bad.Value != nil {
		bad.Places = o.examine(bad.Value, bad.Places)
	}
	return invalid(bad.Places)
}

func readBody(o *operation, r *http.Request) ([]byte, error) {
	tooLarge := o.refuse(http.StatusRequestEntityTooLarge, gen.ProblemCodeBODYTOOLARGE, fmt.Sprintf("The request body is larger than %d bytes.", o.bodyLimit))
	if r.ContentLength > o.bodyLimit {
		return nil, tooLarge
	}
	text, err := readAll(io.LimitReader(r.Body, o.bodyLimit+1), r.ContentLength)
	switch {
	case err != nil:
		return nil, o.refuse(http.StatusBadRequest, gen.ProblemCodeBODYUNREADABLE,
			"The request body could not be read: it ended early, came too slowly, or is badly framed.")
	case int64(len(text)) > o.bodyLimit:
		return nil, tooLarge
	}
	return text, nil
}

// readAll holds at most some four times what has come, whatever was announced
// (-1: nothing): a caller that announces much and sends little costs little.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	const begin, grow, spare = 4 << 10, 4, bytes.MinRead
	size := func(n int) int {
		if announced >= 0 {
			n = min(n, int(announced)+spare)
		}
		return n
	}
	text := make([]byte, 0, size(begin))
	for {
		if len(text) == cap(text) {
			text = slices.Grow(text, max(spare, size(grow*cap(text))-len(text)))
		}
		n, err := r.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if errors.Is(err, io.EOF) {
			return text, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// checkHeaders accepts application/json in UTF-8, not encoded.
func checkHeaders(o *operation, h http.Header) error {
	refuse := func(detail string) error {
		return o.refuse(http.StatusUnsupportedMediaType, gen.ProblemCodeMEDIATYPEUNSUPPORTED, detail)
	}
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return refuse("Content-Type must be application/json.")
	}
	if charset, given := params["charset"]; given && !slices.Contains(utf8Names, strings.ToLower(charset)) {
		return refuse("JSON must be in UTF-8; leave charset out of Content-Type, or write charset=utf-8.")
	}
	if h.Get("Content-Encoding") != "" {
		return refuse("Content-Encoding is not supported; send the body as it is.")
	}
	return nil
}

// utf8Names are the charsets that are UTF-8: by its name, by a usual
// misspelling, and as a part of it.
var utf8Names = []string{"utf-8", "utf8", "us-ascii"}

// validBody is a body that has been read and validated.
type validBody struct {
	io.ReadCloser
	text []byte
}

// binder decodes only what was validated. Both decodings match names exactly
// and refuse duplicates, so they cannot see two different documents
// (oapi-codegen #2605).
type binder struct{}

func (binder) Bind(into any, c echo.Context) error {
	body, ok := c.Request().Body.(validBody)
	if !ok {
		return fmt.Errorf("bind %T: the body was not validated", into)
	}
	if len(body.text) == 0 {
		return io.EOF // what the generated code takes for no body
	}
	if err := json.Unmarshal(body.text, into, json.RejectUnknownMembers(true)); err != nil {
		return invalid(conform.Undecodable(err))
	}
	return nil
}
