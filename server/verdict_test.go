package server

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

// TestEveryWayToFailHasAVerdict: each kind, detail and status of the document has
// one, each verdict of the document is used, and each has one sentence of advice.
func TestEveryWayToFailHasAVerdict(t *testing.T) {
	schemas := testDocument(t).Components.Schemas
	now, used := time.Now(), map[string]bool{}
	want := func(found ruling, a store.Attempt, verdicts ...gen.Verdict) {
		t.Helper()
		used[string(found.verdict)] = true
		if found.advice == "" || len(verdicts) > 0 && !slices.Contains(verdicts, found.verdict) {
			t.Errorf("%+v: got %q, %q, want an advice and one of %q", a, found.verdict, found.advice, verdicts)
		}
	}
	for _, detail := range schemas["AttemptDetail"].Value.Enum {
		a := store.Attempt{Error: store.ErrorKind("ANY"), Detail: detail.(string)}
		want(rule(&a, time.Time{}, now), a)
	}
	for _, kind := range schemas["AttemptError"].Value.Enum {
		a := store.Attempt{Error: store.ErrorKind(kind.(string))}
		if a.Error != store.HTTPStatus && a.Error != store.PayloadDamaged {
			want(rule(&a, time.Time{}, now), a)
		}
	}
	for status := 300; status <= 999; status++ {
		a := store.Attempt{Error: store.HTTPStatus, StatusCode: status}
		verdict := gen.VerdictSTATUSUNKNOWN
		switch {
		case status < 400:
			verdict = gen.VerdictREDIRECTED
		case status < 500:
			verdict = map[int]gen.Verdict{
				401: gen.VerdictCALLERREFUSED, 403: gen.VerdictCALLERREFUSED, 404: gen.VerdictPATHNOTFOUND, 405: gen.VerdictMETHODREFUSED, 410: gen.VerdictGONE,
				411: gen.VerdictBODYREFUSED, 413: gen.VerdictBODYREFUSED, 415: gen.VerdictBODYREFUSED, 429: gen.VerdictRATELIMITED,
			}[status]
			if verdict == "" {
				verdict = gen.VerdictREQUESTREFUSED
			}
		case status < 600:
			verdict = gen.VerdictSERVERFAILED
		}
		want(rule(&a, time.Time{}, now), a, verdict)
	}
	ok := store.Attempt{StatusCode: 204}
	want(rule(&ok, time.Time{}, now), ok, gen.VerdictACKNOWLEDGED)
	want(rule(&ok, now.Add(expiresSoon+time.Second), now), ok, gen.VerdictACKNOWLEDGED)
	want(rule(&ok, now.Add(expiresSoon-time.Second), now), ok, gen.VerdictCERTIFICATEEXPIRESSOON)
	after := store.Attempt{Error: store.Timeout, Detail: "NO_ANSWER", StatusCode: 204}
	want(rule(&after, time.Time{}, now), after, gen.VerdictANSWEREDLATE)

	var verdicts []string
	for _, v := range schemas["Verdict"].Value.Enum {
		verdicts = append(verdicts, v.(string))
	}
	slices.Sort(verdicts)
	if diff := cmp.Diff(verdicts, slices.Sorted(maps.Keys(used))); diff != "" {
		t.Errorf("verdicts (-document +used):\n%s", diff)
	}
	for way, r := range rulings {
		if !strings.HasSuffix(r.advice, ".") || strings.Contains(strings.TrimSuffix(r.advice, "."), ". ") || len(r.advice) > maxTextLength {
			t.Errorf("%s: got the advice %q, want one sentence", way, r.advice)
		}
	}
}

// TestVerdictsAreThoseOfTheManual: docs/receiving.md has a row for each way in which
// a test can end, with its verdict and its advice, and no other.
func TestVerdictsAreThoseOfTheManual(t *testing.T) {
	text, err := os.ReadFile("../docs/receiving.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Send yourself a test\n")
	section, _, _ = strings.Cut(section, "\n## ")
	got := map[string]ruling{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`|]+)` \\| `([A-Z_]+)` \\| (.+) \\|$").FindAllStringSubmatch(section, -1) {
		if _, twice := got[row[1]]; twice {
			t.Errorf("%s has two rows, want one", row[1])
		}
		got[row[1]] = ruling{gen.Verdict(row[2]), row[3]}
	}
	if diff := cmp.Diff(rulings, got, cmp.AllowUnexported(ruling{})); diff != "" {
		t.Errorf("rows of docs/receiving.md (-code +manual):\n%s", diff)
	}
}

func testDocument(t *testing.T) *openapi3.T {
	t.Helper()
	text, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := document(text)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
