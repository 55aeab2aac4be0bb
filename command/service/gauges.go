package service

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// watch adds the gauges, read when Prometheus asks, and what a store of several processes
// has.
func (m *metrics) watch(st store.Store, d *dispatcher.Dispatcher, c *egress.Client) {
	m.registry.MustRegister(&gauges{gaugeDescs: m.gaugeDescs, store: st, dispatcher: d, egress: c})
	if _, ok := st.(nodes); ok {
		m.registry.MustRegister(m.nodes.handOff, m.nodes.change)
	}
}

// gauges read the present state of the store, the dispatcher and the connections once
// per scrape.
type gauges struct {
	gaugeDescs
	store      store.Store
	dispatcher *dispatcher.Dispatcher
	egress     *egress.Client
}

// Describe implements [prometheus.Collector].
func (g *gauges) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, ch) }

// Collect implements [prometheus.Collector].
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	s := scrape(ch)
	now := time.Now()
	s.timestamp(g.clock, now)
	g.ofStore(s)
	g.ofDispatcher(s, now)
	e := g.egress.Stats()
	s.counter(g.dials, e.Dials)
	s.counter(g.resumed, e.Resumed)
	s.counter(g.reused, e.Reused)
	s.counter(g.egressFailures, e.Wayless)
	s.gauge(g.connectionsIdling, e.Idle)
}

func (g *gauges) ofStore(s scrape) {
	stats := g.store.Stats()
	for _, state := range []store.State{store.Pending, store.Delivered, store.Failed, store.Cancelled} {
		s.gauge(g.deliveries, int(stats.Deliveries[state]), string(state))
	}
	s.gauge(g.backlog, int(stats.Deliveries[store.Pending]))
	s.gauge(g.damaged, stats.Damaged)
	valid := 0
	if g.store.May("") {
		valid = 1
	}
	s.gauge(g.lease, valid)
	if shared, ok := g.store.(nodes); ok {
		g.ofNode(s, shared.Nodes())
	}
	if d := stats.Disk; d != nil {
		s.gauge(g.storeBytes, int(d.Bytes))
		s.timestamp(g.lastBackup, d.BackedUp)
		if d.Free >= 0 {
			s.gauge(g.storeFree, int(d.Free))
		}
	}
}

func (g *gauges) ofNode(s scrape, n store.NodeStats) {
	s.gauge(g.nodes, n.Live)
	s.gauge(g.shards, n.Shards)
	s.counter(g.evicted, n.Evicted)
	s.counter(g.fenced, n.Fenced)
	s.counter(g.slowInserts, n.SlowInserts)
	s.value(g.leaseRemaining, prometheus.GaugeValue, n.Lease.Seconds())
	s.value(g.marksAge, prometheus.GaugeValue, n.MarksAge.Seconds())
	s.value(g.streamLag, prometheus.GaugeValue, n.StreamLag.Seconds())
	s.value(g.clockSkew, prometheus.GaugeValue, n.ClockSkew.Seconds())
}

func (g *gauges) ofDispatcher(s scrape, now time.Time) {
	d := g.dispatcher.Stats()
	lanes := map[string]int{"healthy": d.Lanes - d.Suspect - d.Open - d.Suspended, "suspect": d.Suspect, "open": d.Open, "suspended": d.Suspended}
	for health, n := range lanes {
		s.gauge(g.lanes, n, health)
		var age time.Duration
		if since, due := d.DueSince[health]; due {
			age = max(0, now.Sub(since))
		}
		s.value(g.oldestDue, prometheus.GaugeValue, age.Seconds(), health)
	}
	for class, n := range d.InUseBy {
		s.gauge(g.slots, n, class)
	}
	s.gauge(g.slotsMax, d.MaxSlots)
	s.gauge(g.window, d.HeldBytes)
	s.gauge(g.unrecorded, d.Unrecorded)
	if _, ok := g.store.(nodes); ok {
		s.counter(g.lateAttempts, d.Late)
	}
	s.timestamp(g.lastSweep, d.Swept)
}

// scrape takes the values of one.
type scrape chan<- prometheus.Metric

func (s scrape) value(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, kind, v, labels...)
}

func (s scrape) gauge(d *prometheus.Desc, v int, labels ...string) {
	s.value(d, prometheus.GaugeValue, float64(v), labels...)
}

func (s scrape) counter(d *prometheus.Desc, v uint64) {
	s.value(d, prometheus.CounterValue, float64(v))
}

// timestamp shows a time in Unix seconds; never is 0.
func (s scrape) timestamp(d *prometheus.Desc, at time.Time) {
	v := 0.0
	if !at.IsZero() {
		v = float64(at.UnixMilli()) / 1000
	}
	s.value(d, prometheus.GaugeValue, v)
}
