package service

import (
	"context"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
)

// onDisk is a store that says that it is on a disk, and that others serve it too.
type onDisk struct{ store.Store }

func (s onDisk) HandOver(context.Context) {}

func (s onDisk) AskProbe(context.Context, string) error { return nil }

func (s onDisk) Nodes() store.NodeStats { return store.NodeStats{Live: 2, Shards: 128} }

func (s onDisk) Stats() store.Stats {
	stats := s.Store.Stats()
	stats.Disk = &store.Disk{Bytes: 1}
	return stats
}

// watched are the metrics of a store of several processes.
func watched(t *testing.T) (*metrics, store.Store, *dispatcher.Dispatcher) {
	t.Helper()
	st := onDisk{memory.New(memory.Config{})}
	client := egress.New(egress.Config{})
	t.Cleanup(client.Close)
	d, err := dispatcher.New(dispatcher.Config{Store: st, Sender: client})
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics()
	m.watch(st, d, client)
	return m, st, d
}

var nameOfMetric = regexp.MustCompile(`recapito_\w+`)

// TestEveryMetricIsInTheManual: docs/metrics.md names each metric, and no page of the
// operator's another.
func TestEveryMetricIsInTheManual(t *testing.T) {
	m, _, _ := watched(t)
	m.built("1.0.0", "commit")
	descs := make(chan *prometheus.Desc)
	go func() { m.registry.Describe(descs); close(descs) }()
	var served []string
	for desc := range descs {
		if name := nameOfMetric.FindString(desc.String()); name != "" {
			served = append(served, name)
		}
	}
	manual, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	named := nameOfMetric.FindAllString(string(manual), -1)
	for _, names := range []*[]string{&served, &named} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	if diff := cmp.Diff(served, named); diff != "" {
		t.Errorf("metrics (-served +in docs/metrics.md):\n%s", diff)
	}
	for _, page := range []string{"operating", "configuration", "platform", "recovery", "scaling", "sizing"} {
		text, err := os.ReadFile("../../docs/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range nameOfMetric.FindAllString(string(text), -1) {
			if !slices.Contains(served, name) {
				t.Errorf("docs/%s.md names %s, which is not served", page, name)
			}
		}
	}
}

// counted is what a counter with these labels has counted, or how often a histogram has
// observed something.
func counted(t *testing.T, m *metrics, name string, labels ...string) float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, one := range family.GetMetric() {
			var values []string
			for _, l := range one.GetLabel() {
				values = append(values, l.GetValue())
			}
			if family.GetName() == name && slices.Equal(values, labels) {
				return one.GetCounter().GetValue() + float64(one.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("no %s with %v", name, labels)
	return 0
}

// TestAnswersAreCountedByClass: each answer once, in its class; no answer in none.
func TestAnswersAreCountedByClass(t *testing.T) {
	m := newMetrics()
	for _, status := range []int{0, 100, 200, 204, 301, 404, 500, 599, 600, 999, 99} {
		m.attempted(dispatcher.Observation{Outcome: "x", StatusCode: status})
	}
	for class, want := range map[string]float64{"1xx": 1, "2xx": 2, "3xx": 1, "4xx": 1, "5xx": 2, "other": 3} {
		if got := counted(t, m, "recapito_answers_total", class); got != want {
			t.Errorf("%s: %v answers, want %v", class, got, want)
		}
	}
}

// TestSkippedEventsAreCountedByReason: duplicates by themselves.
func TestSkippedEventsAreCountedByReason(t *testing.T) {
	m := newMetrics()
	m.handedIn(gen.EventsResult{Accepted: 3, Duplicates: 2, Skipped: []gen.SkippedEvent{
		{Reason: gen.SkipReasonNOWEBHOOK}, {Reason: gen.SkipReasonUNKNOWNACCOUNT}, {Reason: gen.SkipReasonNOWEBHOOK},
	}})
	if got := counted(t, m, "recapito_events_duplicate_total"); got != 2 {
		t.Errorf("%v duplicates, want 2", got)
	}
	for reason, want := range map[string]float64{"NO_WEBHOOK": 2, "UNKNOWN_ACCOUNT": 1, "ID_REUSED": 0, "ACCOUNT_UNREADABLE": 0, "OVER_QUOTA": 0} {
		if got := counted(t, m, "recapito_events_skipped_total", reason); got != want {
			t.Errorf("%s: %v skipped, want %v", reason, got, want)
		}
	}
}
