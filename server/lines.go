package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// linesType is the media type of one JSON object a line (github.com/ndjson/ndjson-spec).
const linesType = "application/x-ndjson"

// A listing in lines ends, perhaps with a cursor, after so many lines, and with
// the page that it is at after so long: net/http gives a whole answer 60 s.
const (
	mostLines = 10_000
	linesTime = 20 * time.Second
)

type linesContext struct{}

// wantsLines reports whether the caller asks for lines.
func wantsLines(ctx context.Context) bool { return ctx.Value(linesContext{}) != nil }

// negotiate tells the handler of an operation that has lines if they are wanted.
func negotiate(o *operation) []echo.MiddlewareFunc {
	ok := o.route.Operation.Responses.Status(http.StatusOK)
	if ok == nil || ok.Value.Content[linesType] == nil {
		return nil
	}
	return []echo.MiddlewareFunc{before(func(c echo.Context) error {
		r := c.Request()
		c.Response().Header().Add("Vary", "Accept")
		if prefersLines(r.Header.Values("Accept")) {
			c.SetRequest(r.WithContext(context.WithValue(r.Context(), linesContext{}, true)))
		}
		return nil
	})}
}

// prefersLines reads Accept (RFC 9110, section 12.5.1). Lines must be named, and
// weigh more than JSON.
func prefersLines(accept []string) bool {
	weights := map[string]float64{}
	for media := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, params, _ := strings.Cut(media, ";")
		weight := 1.0
		for p := range strings.SplitSeq(params, ";") {
			if q, is := strings.CutPrefix(strings.ToLower(strings.TrimSpace(p)), "q="); is {
				weight, _ = strconv.ParseFloat(q, 64)
			}
		}
		weights[strings.ToLower(strings.TrimSpace(name))] = weight
	}
	return weights[linesType] > weights["application/json"]
}

// lines is the answer of a listing in lines.
type lines[T any] struct {
	server *server
	ctx    context.Context
	most   int
	// read reads up to so many items after what it read before, and returns the
	// cursor to the rest; nil: there is none.
	read func(limit int) (items []T, next *string, err error)
}

// cursorLine is the last line if there is more.
type cursorLine struct {
	NextCursor string `json:"nextCursor"`
}

// newLines is for up to limit items, or mostLines.
func newLines[T any](ctx context.Context, s *server, limit *int32, read func(int) ([]T, *string, error)) *lines[T] {
	l := &lines[T]{server: s, ctx: ctx, most: mostLines, read: read}
	if limit != nil {
		l.most = int(*limit)
	}
	return l
}

// write reads the first page before it begins the answer. If a later one cannot
// be read, the answer ends with the cursor to it: who goes on sees why.
func (l *lines[T]) write(w http.ResponseWriter) error {
	began := l.server.Now()
	items, next, err := l.read(min(l.most, pageLimit))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", linesType)
	w.WriteHeader(http.StatusOK)
	for left := l.most; ; {
		for _, item := range items {
			if err := writeLine(w, item); err != nil {
				return err
			}
		}
		left -= len(items)
		switch {
		case next == nil:
			return nil
		case left == 0, l.ctx.Err() != nil, l.server.Now().Sub(began) > linesTime:
			return writeLine(w, cursorLine{*next})
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
		more, after, err := l.read(min(left, pageLimit))
		if err != nil {
			l.server.Logger.Warn("a listing in lines ended early", "error", err)
			return writeLine(w, cursorLine{*next})
		}
		items, next = more, after
	}
}

func writeLine(w http.ResponseWriter, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}
