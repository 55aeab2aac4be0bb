package receiver

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// sample is a callback as docs/receiving.md shows it, with its secret.
func sample(t *testing.T) (secret []byte, header http.Header, body []byte, signed time.Time) {
	t.Helper()
	text, err := os.ReadFile("../../docs/receiving.md")
	if err != nil {
		t.Fatal(err)
	}
	find := func(expr string) string {
		m := regexp.MustCompile(expr).FindSubmatch(text)
		if m == nil {
			t.Fatalf("docs/receiving.md has no %s", expr)
		}
		return string(m[1])
	}
	header = http.Header{}
	for _, name := range []string{idHeader, timeHeader, signatureHeader} {
		header.Set(name, find(name+`: (\S+)`))
	}
	var s Secret
	if err := s.UnmarshalText([]byte(find("`(whsec_[^`]+)`"))); err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.ParseInt(header.Get(timeHeader), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return s, header, []byte(find(`(?m)^(\{"eventId".*)$`)), time.Unix(seconds, 0)
}

// decoded is a body as Go's encoding/json writes it from a map: sorted.
func decoded(t *testing.T, body []byte) []byte {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func indented(t *testing.T, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestEveryFaultIsFound(t *testing.T) {
	secret, header, body, signed := sample(t)
	other := []byte("another secret of somebody")
	tests := []struct {
		name    string
		change  func(h http.Header, body []byte) []byte // nil: as it came
		secrets [][]byte
		after   time.Duration // from the signature to the arrival
		fault   Fault
		reason  string
	}{
		{"genuine", nil, [][]byte{secret}, 3 * time.Second, "", "signed 3s before it arrived"},
		{"genuine during a rotation", nil, [][]byte{other, secret}, 0, "", "signed 0s before it arrived"},
		{"just in time", nil, [][]byte{secret}, 5 * time.Minute, "", "signed 5m0s"},
		{"too old", nil, [][]byte{secret}, 5*time.Minute + time.Second, TimeOff, "signed 5m1s before now, and 5 min are allowed"},
		{"too new", nil, [][]byte{secret}, -6 * time.Minute, TimeOff, "signed 6m0s after it arrived"},
		{"no id", func(h http.Header, b []byte) []byte { h.Del(idHeader); return b }, [][]byte{secret}, 0, HeaderMissing, "webhook-id is missing"},
		{"no header", func(h http.Header, b []byte) []byte { clear(h); return b }, [][]byte{secret}, 0, HeaderMissing, "webhook-id and webhook-timestamp and webhook-signature are missing"},
		{"a date", func(h http.Header, b []byte) []byte { h.Set(timeHeader, "2026-11-20"); return b }, [][]byte{secret}, 0, HeaderMalformed, "webhook-timestamp is not a number"},
		{"no version", func(h http.Header, b []byte) []byte { h.Set(signatureHeader, h.Get(signatureHeader)[3:]); return b }, [][]byte{secret}, 0, HeaderMalformed, "no signature of the form v1,BASE64"},
		{"cut signature", func(h http.Header, b []byte) []byte { h.Set(signatureHeader, h.Get(signatureHeader)[:40]); return b }, [][]byte{secret}, 0, HeaderMalformed, "no signature of the form"},
		{"indented", func(_ http.Header, b []byte) []byte { return indented(t, b) }, [][]byte{other, secret}, 0, BodyRewritten, "parsed and written anew"},
		{"as Python writes it", func(_ http.Header, b []byte) []byte {
			return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte(`,"`), []byte(`, "`)), []byte(`":`), []byte(`": `))
		}, [][]byte{secret}, 0, BodyRewritten, "parsed and written anew"},
		{"escaped", func(_ http.Header, b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("order"), []byte(`\u006frder`))
		}, [][]byte{secret}, 0, BodyRewritten, "parsed and written anew"},
		{"a line end", func(_ http.Header, b []byte) []byte { return append(b, "\r\n"...) }, [][]byte{secret}, 0, BodyRewritten, "line end"},
		{"a byte order mark", func(_ http.Header, b []byte) []byte { return append([]byte("\ufeff"), b...) }, [][]byte{secret}, 0, BodyRewritten, "byte order mark"},
		{"sorted", func(_ http.Header, b []byte) []byte { return decoded(t, b) }, [][]byte{secret}, 0, BodyAltered, "sorted by name"},
		{"empty", func(http.Header, []byte) []byte { return nil }, [][]byte{secret}, 0, BodyAltered, "the body is empty"},
		{"cut", func(_ http.Header, b []byte) []byte { return b[:len(b)-1] }, [][]byte{secret}, 0, BodyAltered, "not JSON"},
		{"of another event", func(h http.Header, b []byte) []byte { h.Set(idHeader, "evt_2"); return b }, [][]byte{secret}, 0, BodyAltered, `but webhook-id is "evt_2"`},
		{"indented and altered", func(_ http.Header, b []byte) []byte {
			return indented(t, bytes.Replace(b, []byte("SMS"), []byte("RCS"), 1))
		}, [][]byte{secret}, 0, BodyAltered, "something else was altered"},
		{"another secret", nil, [][]byte{other}, 0, WrongSecret, "another secret is right"},
		{"another secret, much later", nil, [][]byte{other, other}, time.Hour, WrongSecret, "(2 tried)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, b := header.Clone(), bytes.Clone(body)
			if test.change != nil {
				b = test.change(h, b)
			}
			got := Judge(test.secrets, h, b, signed.Add(test.after))
			if got.Fault != test.fault || !strings.Contains(got.Reason, test.reason) {
				t.Errorf("got %q: %s\nwant %q: …%s…", got.Fault, got.Reason, test.fault, test.reason)
			}
		})
	}
}

// FuzzJudge: what is judged genuine is so to the official library, and nothing else
// is, the time aside.
func FuzzJudge(f *testing.F) {
	f.Add("evt_1", "1795170602", "v1,AAAA v1,", []byte("{}"), true)
	f.Add("", "", "", []byte(nil), false)
	f.Add("evt_1", "9223372036854775807", " ", []byte(`{"eventId":"evt_1"}`), false)
	secret := []byte("a secret of twenty-six bytes")
	f.Fuzz(func(t *testing.T, id, timestamp, signatures string, body []byte, sign bool) {
		theirs, err := standardwebhooks.NewWebhookRaw(secret)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(1795170602, 0)
		if sign {
			timestamp = strconv.FormatInt(now.Unix(), 10)
			if signatures, err = theirs.Sign(id, now, body); err != nil {
				t.Fatal(err)
			}
		}
		h := http.Header{}
		h.Set(idHeader, id)
		h.Set(timeHeader, timestamp)
		h.Set(signatureHeader, signatures)
		got := Judge([][]byte{secret}, h, body, now)
		want := theirs.VerifyIgnoringTimestamp(body, h) == nil
		if genuine := got.Fault == "" || got.Fault == TimeOff; genuine != want {
			t.Errorf("got %q: %s, want genuine: %v", got.Fault, got.Reason, want)
		}
		if got.Reason == "" {
			t.Errorf("%q: got no reason", got.Fault)
		}
	})
}
