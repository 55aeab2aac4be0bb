package broker

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/recapito/recapito/command/feed"
	"github.com/recapito/recapito/gen/client"
)

// side is one of the two that messages go between.
type side string

const (
	fromBroker side = "broker"
	toServer   side = "server"
)

// Metrics are what Prometheus sees, and whether the feeder is ready. docs/brokers.md
// names each.
type Metrics struct {
	registry *prometheus.Registry
	messages *prometheus.CounterVec
	events   *prometheus.CounterVec
	letters  *prometheus.CounterVec
	posts    *prometheus.CounterVec
	duration prometheus.Histogram
	last     prometheus.Gauge

	mu   sync.Mutex
	down map[side]error // why it is not ready
}

// NewMetrics begins with zeros, and not ready.
func NewMetrics(version, commit string) *Metrics {
	counters := func(name, help, label string, values ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		for _, v := range values {
			c.WithLabelValues(v)
		}
		return c
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		messages: counters("recapito_broker_messages_total", "Messages: acknowledged; of these, those of which the map made nothing (ignored), that are dead letters, that were dropped.", "outcome", "acknowledged", "ignored", "dead_letter", "dropped"),
		events:   counters("recapito_broker_events_total", "Events that the server has answered for. A message that comes again is counted again.", "outcome", "accepted", "duplicate", "skipped", "refused"),
		letters:  counters("recapito_broker_dead_letters_total", "Dead letters by reason.", "reason"),
		posts:    counters("recapito_broker_posts_total", "Requests to the server: taken, refused for what is in them, or failed and tried again.", "outcome", "taken", "refused", "failed"),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "recapito_broker_post_duration_seconds", Help: "Duration of requests to the server.", Buckets: prometheus.ExponentialBuckets(.001, 2, 15)}),
		last:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "recapito_broker_last_acknowledged_timestamp_seconds", Help: "When messages were acknowledged last; 0: never."}),
		down:     map[side]error{fromBroker: errors.New("not connected yet")},
	}
	built := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "recapito_build_info", Help: "1, with the version and the commit that runs.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit}}, func() float64 { return 1 })
	m.registry.MustRegister(m.messages, m.events, m.letters, m.posts, m.duration, m.last, built,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler is /metrics, /livez and /readyz. It is ready when the broker answers and the
// server takes events.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("alive\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, side := range []side{fromBroker, toServer} {
			if why := m.down[side]; why != nil {
				http.Error(w, fmt.Sprintf("%s: %v", side, why), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	return mux
}

// failing notes why a side does not answer; nil: it does.
func (m *Metrics) failing(of side, why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down[of] = why
}

func (m *Metrics) posted(took time.Duration, err error) {
	m.duration.Observe(took.Seconds())
	outcome := "taken"
	if _, refused := errors.AsType[*feed.BadEvents](err); refused {
		outcome = "refused"
	} else if err != nil {
		outcome = "failed"
	}
	m.posts.WithLabelValues(outcome).Inc()
}

func (m *Metrics) handedIn(r *client.EventsResult) {
	m.events.WithLabelValues("accepted").Add(float64(r.Accepted))
	m.events.WithLabelValues("duplicate").Add(float64(r.Duplicates))
	m.events.WithLabelValues("skipped").Add(float64(len(r.Skipped)))
}

func (m *Metrics) dead(why Reason) {
	m.messages.WithLabelValues("dead_letter").Inc()
	m.letters.WithLabelValues(why.Code).Inc()
}

func (m *Metrics) acknowledged(n int) {
	m.messages.WithLabelValues("acknowledged").Add(float64(n))
	m.last.SetToCurrentTime()
}
