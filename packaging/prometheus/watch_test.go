package prometheus

import (
	"io"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tsdb"
)

// watcher is a Prometheus that scrapes one service. Its time is compressed: a scrape
// follows the one before as soon as the test likes, and is 15 s later on its clock. So
// counters and states are those of real scrapes, and only waiting is left out. Time
// stamps keep the age that they have, and [aging] gauges grow as fast as its clock.
type watcher struct {
	t      *testing.T
	url    string
	db     *tsdb.DB
	query  rules.QueryFunc
	rules  []*rules.AlertingRule
	now    time.Time
	frozen time.Duration // how far time stamps are moved from now on, so that they grow old; 0: they keep their age
}

const (
	scrapeGap = 15 * time.Second
	// tick is about the time that a scrape takes here.
	tick = 100 * time.Millisecond
	// aging tells how long something has been so.
	aging = "recapito_oldest_due_seconds"
)

func newWatcher(t *testing.T, url string) *watcher {
	t.Helper()
	opts := tsdb.DefaultOptions()
	opts.NoLockfile = true
	db, err := tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, Parser: promQL})
	w := &watcher{t: t, url: url, db: db, query: rules.EngineQueryFunc(engine, db), now: time.Now()}
	for _, r := range loadRules(t) {
		expr, err := promQL.ParseExpr(r.Expr)
		if err != nil {
			t.Fatalf("%s: %v", r.Alert, err)
		}
		w.rules = append(w.rules, rules.NewAlertingRule(r.Alert, expr, time.Duration(r.For), 0, labels.FromMap(r.Labels), labels.FromMap(r.Annotations),
			labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler)))
	}
	return w
}

// scrape lets 15 s pass, scrapes, and returns which alerts fire.
func (w *watcher) scrape() (firing []string) {
	w.t.Helper()
	w.now = w.now.Add(scrapeGap)
	app := w.db.Appender(w.t.Context())
	add := func(metric model.Metric, v float64) {
		b := labels.NewScratchBuilder(len(metric) + 2)
		for name, value := range metric {
			b.Add(string(name), string(value))
		}
		b.Add("instance", "test")
		b.Add("job", "recapito")
		b.Sort()
		if _, err := app.Append(0, b.Labels(), w.now.UnixMilli(), v); err != nil {
			w.t.Fatalf("%v: %v", metric, err)
		}
	}
	samples, up := w.read()
	ahead := time.Until(w.now)
	for _, s := range samples {
		add(s.Metric, w.compress(string(s.Metric[model.MetricNameLabel]), float64(s.Value), ahead))
	}
	add(model.Metric{model.MetricNameLabel: "up"}, up)
	if err := app.Commit(); err != nil {
		w.t.Fatal(err)
	}
	for _, r := range w.rules {
		if _, err := r.Eval(w.t.Context(), 0, w.now, w.query, nil, 0); err != nil {
			w.t.Fatalf("%s: %v", r.Name(), err)
		}
		r.SetEvaluationTimestamp(w.now)
		if r.State() == rules.StateFiring {
			firing = append(firing, r.Name())
		}
	}
	return firing
}

// value is that of a metric without labels now; NaN: there is none.
func (w *watcher) value(name model.LabelValue) float64 {
	samples, _ := w.read()
	for _, s := range samples {
		if s.Metric[model.MetricNameLabel] == name {
			return float64(s.Value)
		}
	}
	return math.NaN()
}

// compress is a sample as it would be if the time between scrapes had passed.
func (w *watcher) compress(name string, v float64, ahead time.Duration) float64 {
	switch {
	case name == aging:
		return v * float64(scrapeGap/tick)
	case name == "recapito_time_seconds":
		return v + ahead.Seconds()
	case v == 0 || !strings.HasSuffix(name, "_timestamp_seconds") && name != "process_start_time_seconds":
		return v
	case w.frozen != 0:
		ahead = w.frozen
	}
	return v + ahead.Seconds()
}

// read is one real scrape; without an answer there are no samples.
func (w *watcher) read() (model.Vector, float64) {
	w.t.Helper()
	resp, err := client.Get(w.url + "/metrics")
	if err != nil {
		return nil, 0
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, 0
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.Reader(resp.Body))
	if err != nil {
		return nil, 0 // it was killed
	}
	var samples model.Vector
	for _, f := range families {
		s, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, f)
		if err != nil {
			w.t.Fatal(err)
		}
		samples = append(samples, s...)
	}
	return slices.DeleteFunc(samples, func(s *model.Sample) bool { return math.IsNaN(float64(s.Value)) }), 1
}

// describe is what an alert says, filled in.
func (w *watcher) describe(alert string) (text string) {
	for _, r := range w.rules {
		r.ForEachActiveAlert(func(a *rules.Alert) {
			if r.Name() == alert {
				text = a.Annotations.Get("description")
			}
		})
	}
	return text
}
