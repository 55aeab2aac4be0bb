package service

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// metrics are all that Prometheus sees.
type metrics struct {
	registry *prometheus.Registry

	accepted        prometheus.Counter
	refused         prometheus.Counter
	attempts        *prometheus.CounterVec
	attemptDuration prometheus.Histogram
	latency         prometheus.Histogram
	commitDuration  prometheus.Histogram
	commitRows      prometheus.Histogram
	commitFailures  prometheus.Counter
	requests        *prometheus.CounterVec
	requestDuration *prometheus.HistogramVec
	waiting         prometheus.Gauge
}

func newMetrics() *metrics {
	times := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	lag := append(append([]float64{}, times...), 30, 60, 300, 1800, 7200, 43200, 259200)
	m := &metrics{
		registry: prometheus.NewRegistry(),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "recapito_events_accepted_total", Help: "Events on disk, each with a delivery."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "recapito_events_refused_total", Help: "Events skipped since their account cannot be read in the store."}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "recapito_attempts_total", Help: "Attempts by outcome: ACKNOWLEDGED or the kind of error."}, []string{"outcome"}),
		attemptDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "recapito_attempt_duration_seconds", Help: "Duration of attempts.", Buckets: times}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "recapito_delivery_latency_seconds", Help: "From acceptance to acknowledgement.", Buckets: lag}),
		commitDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "recapito_commit_duration_seconds", Help: "Duration of group commits, fsync included.", Buckets: times}),
		commitRows: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "recapito_commit_rows", Help: "Events and outcomes in a group commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 13)}),
		commitFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "recapito_commit_failures_total", Help: "Group commits that failed."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "recapito_http_requests_total", Help: "API requests by operation and status."}, []string{"operation", "status"}),
		requestDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "recapito_http_request_duration_seconds", Help: "Duration of API requests by operation.", Buckets: times}, []string{"operation"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "recapito_feed_waiting", Help: "Requests that wait for events."}),
	}
	m.registry.MustRegister(m.accepted, m.refused, m.attempts, m.attemptDuration, m.latency, m.commitDuration, m.commitRows,
		m.commitFailures, m.requests, m.requestDuration, m.waiting,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) committed(c store.Commit) {
	if c.Err != nil {
		m.commitFailures.Inc()
		return
	}
	m.accepted.Add(float64(c.Events))
	m.refused.Add(float64(c.Refused))
	m.commitDuration.Observe(c.Duration.Seconds())
	m.commitRows.Observe(float64(c.Events + c.Outcomes))
}

func (m *metrics) attempted(o dispatcher.Observation) {
	m.attempts.WithLabelValues(o.Outcome).Inc()
	m.attemptDuration.Observe(o.Duration.Seconds())
	if o.State == store.Delivered {
		m.latency.Observe(o.Now.Sub(o.AcceptedAt).Seconds())
	}
}

func (m *metrics) requested(operation string, status int, took time.Duration) {
	m.requests.WithLabelValues(operation, strconv.Itoa(status)).Inc()
	m.requestDuration.WithLabelValues(operation).Observe(took.Seconds())
}

func (m *metrics) waits(n int) { m.waiting.Set(float64(n)) }

// watch adds the gauges, read when Prometheus asks.
func (m *metrics) watch(st store.Statistics, d *dispatcher.Dispatcher, c *egress.Client) {
	m.registry.MustRegister(&gauges{store: st, dispatcher: d, egress: c})
}

// gauges read the present state of the store and the dispatcher once per
// scrape.
type gauges struct {
	store      store.Statistics
	dispatcher *dispatcher.Dispatcher
	egress     *egress.Client
}

var (
	deliveriesDesc = prometheus.NewDesc("recapito_deliveries", "Deliveries held, by state.", []string{"state"}, nil)
	damagedDesc    = prometheus.NewDesc("recapito_damaged_rows", "Damaged rows met in the store since the start.", nil, nil)
	backlogDesc    = prometheus.NewDesc("recapito_backlog", "Deliveries that are PENDING.", nil, nil)
	lanesDesc      = prometheus.NewDesc("recapito_lanes", "Accounts with pending or recent work, by health.", []string{"health"}, nil)
	slotsDesc      = prometheus.NewDesc("recapito_slots_in_use", "Attempts under way, by the lane's class.", []string{"class"}, nil)
	slotsMaxDesc   = prometheus.NewDesc("recapito_slots", "Attempts that may be under way (--max-in-flight).", nil, nil)
	heldDesc       = prometheus.NewDesc("recapito_window_bytes", "Event bodies held in memory.", nil, nil)
	unrecordedDesc = prometheus.NewDesc("recapito_unrecorded_outcomes", "Outcomes not on disk yet.", nil, nil)
	dialsDesc      = prometheus.NewDesc("recapito_dials_total", "Connections to endpoints that were begun.", nil, nil)
	resumedDesc    = prometheus.NewDesc("recapito_dials_resumed_total", "Of these, TLS sessions that were resumed.", nil, nil)
	reusedDesc     = prometheus.NewDesc("recapito_connections_reused_total", "Attempts that found a connection kept.", nil, nil)
	idleDesc       = prometheus.NewDesc("recapito_connections_idle", "Connections kept for the next attempt.", nil, nil)
)

func (g *gauges) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, ch) }

func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	stats := g.store.Stats()
	deliveries := stats.Deliveries
	gauge(damagedDesc, stats.Damaged)
	for _, s := range []store.State{store.Pending, store.Delivered, store.Failed, store.Cancelled} {
		gauge(deliveriesDesc, int(deliveries[s]), string(s))
	}
	gauge(backlogDesc, int(deliveries[store.Pending]))
	s := g.dispatcher.Stats()
	gauge(lanesDesc, s.Lanes-s.Suspect-s.Open-s.Suspended, "healthy")
	gauge(lanesDesc, s.Suspect, "suspect")
	gauge(lanesDesc, s.Open, "open")
	gauge(lanesDesc, s.Suspended, "suspended")
	for class, n := range s.InUseBy {
		gauge(slotsDesc, n, class)
	}
	gauge(slotsMaxDesc, s.MaxSlots)
	gauge(heldDesc, s.HeldBytes)
	gauge(unrecordedDesc, s.Unrecorded)
	e := g.egress.Stats()
	counter := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	counter(dialsDesc, e.Dials)
	counter(resumedDesc, e.Resumed)
	counter(reusedDesc, e.Reused)
	gauge(idleDesc, e.Idle)
}
