package prometheus

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// figures are those of a node of several.
type figures struct {
	evicted, fenced int
	marks, skew     float64
	lease           int
}

var wellNode = figures{marks: 6, lease: 1}

func (f figures) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprintf(w, "recapito_nodes_evicted_total %d\nrecapito_node_fenced_total %d\nrecapito_marks_age_seconds %g\nrecapito_clock_skew_seconds %g\nrecapito_lease_valid %d\n",
		f.evicted, f.fenced, f.marks, f.skew, f.lease)
}

// nodeBreakages are the ways that need several nodes on a PostgreSQL. They are tried with
// figures alone: the site of this test has a store of its own. `faults cluster` breaks
// nodes in earnest.
var nodeBreakages = []struct {
	name, alert string
	broken      figures
}{
	{"another node was taken for dead", "RecapitoNodeTakenForDead", figures{evicted: 1, marks: 6, lease: 1}},
	{"the node was taken for dead", "RecapitoNodeTakenForDead", figures{fenced: 1, marks: 6, lease: 1}},
	{"what waits is not entered", "RecapitoMarksOld", figures{marks: 61, lease: 1}},
	{"the node's clock is ahead", "RecapitoNodeClockSkew", figures{marks: 6, skew: 1.1, lease: 1}},
	{"the node's clock is behind", "RecapitoNodeClockSkew", figures{marks: 6, skew: -1.1, lease: 1}},
	{"the database is away, which has an alert of its own", "RecapitoStoreFailing", figures{marks: 61}},
}

func TestAlertsOfNodes(t *testing.T) {
	for _, b := range nodeBreakages {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			now := wellNode
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain; version=0.0.4")
				now.ServeHTTP(w, r)
			}))
			defer server.Close()
			w := newWatcher(t, server.URL)
			pass := func(scrapes int) (firing []string) {
				for range scrapes {
					firing = append(firing, w.scrape()...)
				}
				slices.Sort(firing)
				return slices.Compact(firing)
			}
			if firing := pass(wellFor); len(firing) > 0 {
				t.Fatalf("%v fire though all is well", firing)
			}
			now = b.broken
			if firing := pass(stillFor + 4); !slices.Equal(firing, []string{b.alert}) {
				t.Errorf("%v fire, want %s alone", firing, b.alert)
			}
			now.marks, now.skew, now.lease = wellNode.marks, wellNode.skew, wellNode.lease
			pass(wellFor + 4)
			if firing := w.scrape(); len(firing) > 0 {
				t.Errorf("%v fire though it is over", firing)
			}
		})
	}
}
