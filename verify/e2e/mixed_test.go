package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// mixed is a database that nodes of two releases serve.
type mixed struct {
	t     *testing.T
	url   string
	flags []string
	conn  *pgx.Conn
}

// node is a service with its row of the table nodes.
type node struct {
	*service
	slot int16
}

func newMixed(t *testing.T, url string, flags ...string) *mixed {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return &mixed{t: t, url: url, flags: flags, conn: conn}
}

// ask asks the database for one value.
func ask[V any](m *mixed, query string, args ...any) V {
	m.t.Helper()
	rows, err := m.conn.Query(m.t.Context(), query, args...)
	if err != nil {
		m.t.Fatal(err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[V])
	if err != nil {
		m.t.Fatalf("%s: %v", query, err)
	}
	return v
}

func (m *mixed) slots() []int16 {
	m.t.Helper()
	return ask[[]int16](m, `SELECT coalesce(array_agg(slot), '{}') FROM nodes WHERE alive`)
}

// schema is the number of the newest migration that was made.
func (m *mixed) schema() int64 {
	m.t.Helper()
	return ask[int64](m, `SELECT max(version_id) FROM recapito_migrations`)
}

// serve starts a node of a release.
func (m *mixed) serve(bin string) *node {
	m.t.Helper()
	before := m.slots()
	n := &node{service: serve(m.t, bin, m.url, m.flags...)}
	added := slices.DeleteFunc(m.slots(), func(slot int16) bool { return slices.Contains(before, slot) })
	if len(added) != 1 {
		m.t.Fatalf("the rows %v have come alive, want one", added)
	}
	n.slot = added[0]
	return n
}

// share returns when each of the nodes, which are all, has its share of the shards.
func (m *mixed) share(nodes ...*node) {
	m.t.Helper()
	slots := make([]int16, len(nodes))
	for i, n := range nodes {
		slots[i] = n.slot
	}
	eventually(m.t, "the nodes to have equal shares", func() bool {
		return ask[bool](m, `SELECT count(*) = cardinality($1::smallint[]) AND sum(n) = 256 AND max(n) <= (255 + count(*)) / count(*)
			FROM (SELECT count(*) AS n FROM shards WHERE slot = ANY($1) GROUP BY slot) s`, slots)
	})
}

// accountOf is an account for which a node attempts.
func (m *mixed) accountOf(name string, n *node) string {
	m.t.Helper()
	for i := 0; ; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		if ask[bool](m, `SELECT slot IS NOT DISTINCT FROM $2 FROM shards WHERE shard = $1`, shardOf(id), n.slot) {
			return id
		}
	}
}

func shardOf(account string) int16 { return int16(sha256.Sum256([]byte(account))[0]) }

// accept hands in an event.
func (n *node) accept(account, id, message string) {
	n.t.Helper()
	if code, answer := n.api("POST", "/events", bearer, batch([]string{event(account, id, message, "SENT")})); code != http.StatusAccepted {
		n.t.Fatalf("POST /events: %d %s, want 202", code, answer)
	}
}

// stalling is an endpoint that answers some events when it is let.
type stalling struct {
	mu  sync.Mutex
	let map[string]chan struct{} // by event
	cut map[string]int           // attempts that the node gave up, by event
}

func (h *stalling) answer(_ string, w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("webhook-id")
	h.mu.Lock()
	let := h.let[id]
	h.mu.Unlock()
	if let != nil {
		select {
		case <-let:
		case <-r.Context().Done():
		}
	}
	if r.Context().Err() != nil {
		h.mu.Lock()
		h.cut[id]++
		h.mu.Unlock()
	}
	w.WriteHeader(http.StatusNoContent)
}

// hold lets an event hang.
func (h *stalling) hold(id string) (let func()) {
	c := make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.let[id] = c
	return func() { close(c) }
}

// checkTwice fails where an attempt was made again, though its node has not given it up.
func (h *stalling) checkTwice(t *testing.T, to *sink) {
	t.Helper()
	to.mu.Lock()
	defer to.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	made := map[string]int{}
	for account, arrivals := range to.arrivals {
		for _, a := range arrivals {
			if a.Verified != nil {
				t.Errorf("%s %s: %v", account, a.ID, a.Verified)
			}
			if made[a.ID+" "+a.Attempt]++; made[a.ID+" "+a.Attempt] > 1+h.cut[a.ID] {
				t.Errorf("%s %s: attempt %s came %d times, want %d", account, a.ID, a.Attempt, made[a.ID+" "+a.Attempt], 1+h.cut[a.ID])
			}
		}
	}
}

// ids are those of an account's arrivals, in order, without what was repeated.
func ids(to *sink, account string) (ids []string) {
	for _, a := range to.of(account) {
		if !slices.Contains(ids, a.ID) {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// wantIDs waits for the arrivals of an account, and compares them in order.
func wantIDs(t *testing.T, to *sink, account string, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%v to arrive at %s", want, account), func() bool { return len(ids(to, account)) >= len(want) })
	if got := ids(to, account); !slices.Equal(got, want) {
		t.Errorf("at %s there came %v, want %v", account, got, want)
	}
}
