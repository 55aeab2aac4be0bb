// Package prometheus holds the alert rules, the runbooks and the dashboard against a
// running service: the built binary is broken in every way that has an alert, it is
// scraped, Prometheus's own engine evaluates the rules, and a person's part is played by
// the runbook's commands. It needs Linux and root.
package prometheus

import (
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	alertsFile  = "alerts.yaml"
	runbookFile = "../../docs/runbooks.md"
	runbookURL  = "https://github.com/recapito/recapito/blob/main/docs/runbooks.md#"
)

var promQL = parser.NewParser(parser.Options{})

// loadRules are the rules of the file, which Prometheus accepts.
func loadRules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(alertsFile, false, model.UTF8Validation, promQL, slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatalf("%s: %v", alertsFile, errs)
	}
	if len(groups.Groups) != 1 {
		t.Fatalf("%s has %d groups, want one", alertsFile, len(groups.Groups))
	}
	return groups.Groups[0].Rules
}

// Each alert says what is wrong, and where its runbook is; each runbook has an alert, and
// each alert is tried.
func TestEachAlertHasARunbookAndATry(t *testing.T) {
	seen, tried := map[string]bool{}, map[string]bool{}
	for _, b := range breakages {
		tried[b.alert] = true
	}
	for _, b := range nodeBreakages {
		tried[b.alert] = true
	}
	for _, r := range loadRules(t) {
		if seen[r.Alert] {
			t.Errorf("%s is there twice", r.Alert)
		}
		seen[r.Alert] = true
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "" {
			t.Errorf("%s lacks a summary, a description or a severity", r.Alert)
		}
		if got, want := r.Annotations["runbook_url"], runbookURL+strings.ToLower(r.Alert); got != want {
			t.Errorf("%s has its runbook at %s, want %s", r.Alert, got, want)
		}
		if runbook(t, r.Alert) == "" {
			t.Errorf("%s has no runbook in %s", r.Alert, runbookFile)
		}
		if !tried[r.Alert] {
			t.Errorf("%s is tried by no test", r.Alert)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^## (Recapito\w+)$`).FindAllStringSubmatch(readFile(t, runbookFile), -1) {
		if !seen[m[1]] {
			t.Errorf("%s has a runbook and no alert", m[1])
		}
	}
}

// runbook is the section about an alert.
func runbook(t *testing.T, alert string) string {
	t.Helper()
	_, section, _ := strings.Cut(readFile(t, runbookFile), "\n## "+alert+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
