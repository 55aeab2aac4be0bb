package service

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// metrics are all that Prometheus sees. Their names and texts are in this file alone;
// docs/metrics.md names each.
type metrics struct {
	registry *prometheus.Registry

	intake     intakeMetrics
	attempt    attemptMetrics
	commit     commitMetrics
	nodes      nodeMetrics
	api        apiMetrics
	reload     reloadMetrics
	changes    *prometheus.CounterVec
	gaugeDescs gaugeDescs
}

type intakeMetrics struct {
	accepted, duplicate prometheus.Counter
	skipped             *prometheus.CounterVec
}

type attemptMetrics struct {
	outcomes, answers *prometheus.CounterVec
	duration, latency prometheus.Histogram
}

type commitMetrics struct {
	duration, rows prometheus.Histogram
	failures       prometheus.Counter
}

// nodeMetrics are served for a store of several processes alone.
type nodeMetrics struct {
	handOff *prometheus.HistogramVec
	change  prometheus.Histogram
}

type apiMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	waiting  prometheus.Gauge
}

type reloadMetrics struct{ successful, at prometheus.Gauge }

// gaugeDescs are what is read when Prometheus asks.
type gaugeDescs struct {
	deliveries, backlog, damaged                              *prometheus.Desc
	storeBytes, storeFree, lastBackup                         *prometheus.Desc
	lanes, oldestDue                                          *prometheus.Desc
	slots, slotsMax, window, unrecorded                       *prometheus.Desc
	lastSweep, clock, lease                                   *prometheus.Desc
	nodes, shards, evicted, fenced                            *prometheus.Desc
	leaseRemaining, marksAge, clockSkew, slowInserts          *prometheus.Desc
	lateAttempts, streamLag                                   *prometheus.Desc
	dials, resumed, reused, egressFailures, connectionsIdling *prometheus.Desc
}

var (
	times = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	lags  = append(append([]float64{}, times...), 30, 60, 300, 1800, 7200, 43200, 259200)
	rows  = prometheus.ExponentialBuckets(1, 2, 13)
)

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		intake: intakeMetrics{
			accepted:  counter("recapito_events_accepted_total", "Events on disk, each with a delivery."),
			duplicate: counter("recapito_events_duplicate_total", "Events handed in again, with the same id and content."),
			skipped:   counters("recapito_events_skipped_total", "Events that were not stored, by reason.", "reason"),
		},
		attempt: attemptMetrics{
			outcomes: counters("recapito_attempts_total", "Attempts by outcome: ACKNOWLEDGED or the kind of error.", "outcome"),
			answers:  counters("recapito_answers_total", "Answers of endpoints by the class of their status.", "class"),
			duration: histogram("recapito_attempt_duration_seconds", "Duration of attempts.", times),
			latency:  histogram("recapito_delivery_latency_seconds", "From acceptance to acknowledgement.", lags),
		},
		commit: commitMetrics{
			duration: histogram("recapito_commit_duration_seconds", "Duration of group commits, fsync included.", times),
			rows:     histogram("recapito_commit_rows", "Events and outcomes in a group commit.", rows),
			failures: counter("recapito_commit_failures_total", "Group commits that failed."),
		},
		nodes: nodeMetrics{
			handOff: histograms("recapito_handoff_seconds", "From the acceptance until the node that attempts is told, by whether it has accepted the event itself.", times, "stream"),
			change:  histogram("recapito_change_ack_seconds", "How long the answer to a change waited until all nodes had acknowledged it.", times),
		},
		api: apiMetrics{
			requests: counters("recapito_http_requests_total", "API requests by operation and status.", "operation", "status"),
			duration: histograms("recapito_http_request_duration_seconds", "Duration of API requests by operation.", times, "operation"),
			waiting:  gauge("recapito_feed_waiting", "Requests that wait for events."),
		},
		reload: reloadMetrics{
			successful: gauge("recapito_config_last_reload_successful", "Whether the last reload of the configuration succeeded, or the start."),
			at:         gauge("recapito_config_last_reload_success_timestamp_seconds", "When the configuration was loaded last."),
		},
		changes: counters("recapito_changes_total", "Changes of accounts, keys, webhooks and breakers, each with a line in the log.", "change"),
		gaugeDescs: gaugeDescs{
			deliveries:        desc("recapito_deliveries", "Deliveries held, by state.", "state"),
			backlog:           desc("recapito_backlog", "Deliveries that are PENDING."),
			damaged:           desc("recapito_damaged_rows", "Damaged rows met in the store since the start."),
			storeBytes:        desc("recapito_store_bytes", "Size of the store's files."),
			storeFree:         desc("recapito_store_free_bytes", "Space that the disk has left for them."),
			lastBackup:        desc("recapito_last_backup_timestamp_seconds", "When the store was last backed up by the command; 0: never."),
			nodes:             desc("recapito_nodes", "Nodes that serve the database, this one among them."),
			shards:            desc("recapito_shards", "Shards of 256 for whose accounts this node attempts."),
			evicted:           desc("recapito_nodes_evicted_total", "Silent nodes that this one took for dead."),
			fenced:            desc("recapito_node_fenced_total", "How often others took this node for dead."),
			leaseRemaining:    desc("recapito_lease_remaining_seconds", "For how long this node may still begin attempts without another commit."),
			marksAge:          desc("recapito_marks_age_seconds", "How old what waits must be to be in the table from which others take over."),
			clockSkew:         desc("recapito_clock_skew_seconds", "By how much this node's clock is ahead of the database's."),
			slowInserts:       desc("recapito_slow_inserts_total", "Inserts of events that were made again, since one was known or another node had just stored one of its message."),
			streamLag:         desc("recapito_stream_lag_seconds", "How long ago the other nodes had accepted no more than this one knows of."),
			lateAttempts:      desc("recapito_late_attempts_total", "Attempts that were sent when this node's lease had run out: it was stopped just before."),
			lanes:             desc("recapito_lanes", "Accounts with pending or recent work, by health.", "health"),
			oldestDue:         desc("recapito_oldest_due_seconds", "For how long the oldest due event has been due, by the health of its lane; 0: none is.", "health"),
			slots:             desc("recapito_slots_in_use", "Attempts under way, by the lane's class.", "class"),
			slotsMax:          desc("recapito_slots", "Attempts that may be under way (--max-in-flight)."),
			window:            desc("recapito_window_bytes", "Event bodies held in memory."),
			unrecorded:        desc("recapito_unrecorded_outcomes", "Outcomes not on disk yet."),
			lastSweep:         desc("recapito_last_sweep_timestamp_seconds", "When what is past its retention was last looked for; 0: not yet."),
			clock:             desc("recapito_time_seconds", "The machine's clock, which callbacks are signed by."),
			lease:             desc("recapito_lease_valid", "Whether attempts may begin: 0 while another process serves the database, or it cannot be reached."),
			dials:             desc("recapito_dials_total", "Connections to endpoints that were begun."),
			resumed:           desc("recapito_dials_resumed_total", "Of these, TLS sessions that were resumed."),
			reused:            desc("recapito_connections_reused_total", "Attempts that found a connection kept."),
			egressFailures:    desc("recapito_egress_failures_total", "Attempts that the operator's proxy or source address failed; no endpoint is blamed."),
			connectionsIdling: desc("recapito_connections_idle", "Connections kept for the next attempt."),
		},
	}
	m.registry.MustRegister(m.intake.accepted, m.intake.duplicate, m.intake.skipped,
		m.attempt.outcomes, m.attempt.answers, m.attempt.duration, m.attempt.latency,
		m.commit.duration, m.commit.rows, m.commit.failures,
		m.api.requests, m.api.duration, m.api.waiting, m.reload.successful, m.reload.at, m.changes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.begin()
	return m
}

// outcomes are those that tell of a fault which may be the operator's.
var outcomes = []string{string(gen.AttemptErrorDNSFAILED), string(gen.AttemptErrorCONNECTFAILED), string(gen.AttemptErrorINTERNALERROR)}

// begin shows what may be counted as 0, so that the first of it is seen as an increase.
func (m *metrics) begin() {
	for _, reason := range []gen.SkipReason{gen.SkipReasonNOWEBHOOK, gen.SkipReasonUNKNOWNACCOUNT, gen.SkipReasonIDREUSED, gen.SkipReasonACCOUNTUNREADABLE, gen.SkipReasonOVERQUOTA} {
		m.intake.skipped.WithLabelValues(string(reason))
	}
	for _, class := range []string{"1xx", "2xx", "3xx", "4xx", "5xx", otherClass} {
		m.attempt.answers.WithLabelValues(class)
	}
	for _, e := range outcomes {
		m.attempt.outcomes.WithLabelValues(e)
	}
	m.api.requests.WithLabelValues("sendEvents", "401")
	for _, c := range server.Changes {
		m.changes.WithLabelValues(string(c))
	}
	for _, c := range dispatcher.Changes {
		m.changes.WithLabelValues(string(c))
	}
}

// built tells what runs.
func (m *metrics) built(version, commit string) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "recapito_build_info", Help: "1, with the version and the commit that runs.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit}}, func() float64 { return 1 }))
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

func (m *metrics) committed(c store.Commit) {
	if c.Err != nil {
		m.commit.failures.Inc()
		return
	}
	m.intake.accepted.Add(float64(c.Events))
	m.commit.duration.Observe(c.Duration.Seconds())
	m.commit.rows.Observe(float64(c.Events + c.Outcomes))
}

func (m *metrics) handedIn(r gen.EventsResult) {
	m.intake.duplicate.Add(float64(r.Duplicates))
	for _, s := range r.Skipped {
		m.intake.skipped.WithLabelValues(string(s.Reason)).Inc()
	}
}

func (m *metrics) attempted(o dispatcher.Observation) {
	m.attempt.outcomes.WithLabelValues(o.Outcome).Inc()
	m.attempt.duration.Observe(o.Duration.Seconds())
	if o.StatusCode != 0 {
		m.attempt.answers.WithLabelValues(classOf(o.StatusCode)).Inc()
	}
	if o.State == store.Delivered {
		m.attempt.latency.Observe(o.Now.Sub(o.AcceptedAt).Seconds())
	}
}

// otherClass has the statuses that HTTP does not know.
const otherClass = "other"

func classOf(status int) string {
	if status < 100 || status > 599 {
		return otherClass
	}
	return strconv.Itoa(status/100) + "xx"
}

func (m *metrics) changed(what string) { m.changes.WithLabelValues(what).Inc() }

func (m *metrics) requested(operation string, status int, took time.Duration) {
	m.api.requests.WithLabelValues(operation, strconv.Itoa(status)).Inc()
	m.api.duration.WithLabelValues(operation).Observe(took.Seconds())
}

func (m *metrics) handedOff(foreign bool, took time.Duration) {
	stream := "own"
	if foreign {
		stream = "foreign"
	}
	m.nodes.handOff.WithLabelValues(stream).Observe(took.Seconds())
}

func (m *metrics) settled(waited time.Duration) { m.nodes.change.Observe(waited.Seconds()) }

func (m *metrics) waits(n int) { m.api.waiting.Set(float64(n)) }

// configured notes that the configuration was loaded, or could not be.
func (m *metrics) configured(ok bool) {
	if !ok {
		m.reload.successful.Set(0)
		return
	}
	m.reload.successful.Set(1)
	m.reload.at.SetToCurrentTime()
}
