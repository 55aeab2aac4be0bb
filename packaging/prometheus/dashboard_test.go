package prometheus

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

const dashboardFile = "../grafana/recapito.json"

// panel is a panel of the dashboard, as far as it asks for something.
type panel struct {
	Title   string
	Targets []struct{ Expr string }
}

// What the dashboard and the alerts ask for is in a real scrape: metrics and their labels.
func TestMetricsThatAreAskedForExist(t *testing.T) {
	s := newSite(t)
	s.must(s.start())
	s.register(func(int) string { return s.sink.URL })
	w := newWatcher(t, "http://"+s.ops)
	s.pass(w, nil)
	served := map[string]map[model.LabelName]bool{"up": {}, "ALERTS": {"alertname": true, "alertstate": true}}
	samples, up := w.read()
	if up == 0 {
		t.Fatal("no scrape")
	}
	for _, sample := range samples {
		name := string(sample.Metric[model.MetricNameLabel])
		if served[name] == nil {
			served[name] = map[model.LabelName]bool{}
		}
		for label := range sample.Metric {
			served[name][label] = true
		}
	}
	for _, name := range ofNodes(t) {
		served[name] = map[model.LabelName]bool{}
	}
	var dashboard struct{ Panels []panel }
	s.must(json.Unmarshal([]byte(readFile(t, dashboardFile)), &dashboard))
	asked := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			asked++
			exists(t, dashboardFile+": "+p.Title, target.Expr, served)
		}
	}
	if asked < 30 {
		t.Errorf("%s asks for %d things, want all of them", dashboardFile, asked)
	}
	for _, r := range loadRules(t) {
		exists(t, r.Alert, r.Expr, served)
	}
}

// ofNodes are the metrics that PostgreSQL alone has, and not this test's store. The manual
// names them; a test of command/service holds the manual against what is served.
func ofNodes(t *testing.T) []string {
	t.Helper()
	manual := readFile(t, "../../docs/metrics.md")
	names := []string{"recapito_nodes", "recapito_shards", "recapito_nodes_evicted_total", "recapito_node_fenced_total",
		"recapito_lease_remaining_seconds", "recapito_marks_age_seconds", "recapito_clock_skew_seconds",
		"recapito_handoff_seconds_bucket", "recapito_change_ack_seconds_bucket", "recapito_stream_lag_seconds",
		"recapito_slow_inserts_total", "recapito_late_attempts_total"}
	for _, name := range names {
		if !strings.Contains(manual, "`"+strings.TrimSuffix(name, "_bucket")) {
			t.Errorf("docs/metrics.md does not name %s", name)
		}
	}
	return names
}

// exists fails the test unless each selector of a query finds something that is served.
func exists(t *testing.T, where, query string, served map[string]map[model.LabelName]bool) {
	t.Helper()
	query = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*").Replace(query)
	expr, err := promQL.ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %s: %v", where, query, err)
		return
	}
	for _, selectors := range parser.ExtractSelectors(expr) {
		has := served[nameOf(selectors)]
		if has == nil {
			t.Errorf("%s asks for %s, which no scrape has", where, nameOf(selectors))
			continue
		}
		for _, m := range selectors {
			if m.Name != "job" && m.Name != "instance" && m.Name != model.MetricNameLabel && !has[model.LabelName(m.Name)] {
				t.Errorf("%s asks for the label %s of %s, which no scrape has", where, m.Name, nameOf(selectors))
			}
		}
	}
}

func nameOf(selectors []*labels.Matcher) string {
	for _, m := range selectors {
		if m.Name == model.MetricNameLabel {
			return m.Value
		}
	}
	return ""
}
