package gen

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// Time is a date-time of the document. It is read as RFC 3339 writes it, and
// written in UTC with three decimals.
type Time time.Time

// Times are within these years, in UTC: a store may count nanoseconds in 64
// bits.
const (
	firstYear = 1970
	lastYear  = 2261
)

var (
	errTime     = errors.New("must be an RFC 3339 date-time, such as 2026-11-20T10:30:00.000Z")
	errNoOffset = errors.New("has no offset: end it with Z for UTC, or with one such as +01:00")
	errYear     = fmt.Errorf("must be from %d to %d", firstYear, lastYear)
	errLeap     = errors.New("second 60 is no leap second: those are at 23:59:60 UTC at the end of a month")
)

// ParseTime reads a date-time of RFC 3339. T and Z may be in lower case
// (section 5.6). A leap second (section 5.7) is read as the second after it. An
// error says what is wrong in words for the caller of the API.
func ParseTime(text []byte) (time.Time, error) {
	t, err := parseUsual(text)
	if err != nil {
		if t, err = parseUnusual(text); err != nil {
			return time.Time{}, err
		}
	}
	if year := t.UTC().Year(); year < firstYear || year > lastYear {
		return time.Time{}, errYear
	}
	return t, nil
}

// Where the parts of a date-time stand.
const (
	separatorAt = len("2006-01-02")
	secondAt    = len("2006-01-02T15:04:")
	fractionAt  = len("2006-01-02T15:04:05")
)

// parseUsual refuses what package time takes beyond RFC 3339 (go.dev/issue/54580):
// an hour of one digit, a comma, an offset of a day or more.
func parseUsual(text []byte) (t time.Time, err error) {
	if err := t.UnmarshalText(text); err != nil {
		return t, err
	}
	offset := text[len(text)-len("01:00"):]
	zoned := text[len(text)-1] != 'Z'
	if text[secondAt-1] != ':' || text[fractionAt] == ',' || zoned && (string(offset[:2]) > "23" || string(offset[3:]) > "59") {
		return t, errTime
	}
	return t, nil
}

// parseUnusual reads what package time does not.
func parseUnusual(text []byte) (time.Time, error) {
	if len(text) < fractionAt {
		return time.Time{}, errTime
	}
	usual := bytes.Clone(text)
	if usual[separatorAt] == 't' {
		usual[separatorAt] = 'T'
	}
	if end := &usual[len(usual)-1]; *end == 'z' {
		*end = 'Z'
	}
	leap := string(usual[secondAt:fractionAt]) == "60"
	if leap {
		copy(usual[secondAt:], "59")
	}
	t, err := parseUsual(usual)
	if err != nil {
		if _, err := parseUsual(append(usual, 'Z')); err == nil {
			return time.Time{}, errNoOffset
		}
		return time.Time{}, errTime
	}
	if leap {
		t = t.Add(time.Second)
		next := t.UTC()
		if next.Day() != 1 || next.Hour() != 0 || next.Minute() != 0 || next.Second() != 0 {
			return time.Time{}, errLeap
		}
	}
	return t, nil
}

// UnmarshalText is [ParseTime].
func (t *Time) UnmarshalText(text []byte) error {
	parsed, err := ParseTime(text)
	*t = Time(parsed)
	return err
}

// Bind is how the generated code reads parameters.
func (t *Time) Bind(text string) error { return t.UnmarshalText([]byte(text)) }

// AppendText appends the time to b.
func (t Time) AppendText(b []byte) ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z"), nil
}

// MarshalText is [Time.AppendText].
func (t Time) MarshalText() ([]byte, error) { return t.AppendText(nil) }

// Equal reports whether both are the same instant.
func (t Time) Equal(u Time) bool { return time.Time(t).Equal(time.Time(u)) }
