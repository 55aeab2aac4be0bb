package sqlite

import (
	"database/sql"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
)

// scan matches a step that looks through a whole table or index. Lists of
// values and results of subqueries are scanned, too, and are small.
var scan = regexp.MustCompile(`SCAN (deliveries|outcomes|listed|waiting|replays|r|d|e|o|t|end|webhooks|api_keys|accounts)\b`)

// What is written must not take longer the more the store holds.
func TestNoStatementOfTheWriterScans(t *testing.T) {
	s := open(t, file(t))
	withWebhook(t, s)
	work(t, s)
	statements := 0
	err := s.w.do(t.Context(), func(tx *txn) error {
		for query := range tx.w.stmts {
			statements++
			if p := plan(t, s.read, query); scan.MatchString(p) {
				t.Errorf("%s\nscans:\n%s", query, p)
			}
		}
		return nil
	})
	if err != nil || statements < 15 {
		t.Errorf("%d statements, error %v; want at least 15 and none", statements, err)
	}
}

func TestNoListingScansOtherAccounts(t *testing.T) {
	s := open(t, file(t))
	all := newFilter(&store.DeliveryQuery{States: []store.State{store.Failed}, MessageID: "m", Channel: "SMS", Holding: []byte("x"), HoldingToo: []byte("y"), Error: store.Timeout, StatusCode: 500,
		FinishedFrom: now, FinishedTo: now, FailedSince: now})
	for query, index := range map[string]string{
		listedBefore:      "SEARCH listed USING PRIMARY KEY (account_id=? AND (accepted_at,seq)<(?,?))",
		listedAfter:       "SEARCH listed USING PRIMARY KEY (account_id=? AND (accepted_at,seq)>(?,?))",
		messagePlaces:     "SEARCH deliveries USING INDEX deliveries_message (message_id=? AND account_id=?)",
		failedPlaces:      "SEARCH outcomes USING COVERING INDEX outcomes_account (account_id=? AND at>?)",
		accountsAfter:     "SEARCH accounts USING PRIMARY KEY (id>? AND id<?)",
		healthyAfter:      "SEARCH webhooks USING PRIMARY KEY (account_id>? AND account_id<?)",
		unhealthyAfter:    "SEARCH webhooks USING COVERING INDEX webhooks_health (health=? AND account_id>? AND account_id<?)",
		accountsInState:   "SEARCH webhooks USING PRIMARY KEY (account_id=?)",
		longestPending:    "SEARCH waiting USING COVERING INDEX waiting_longest (account_id=? AND replayed_at=?)",
		feedPlaces:        "SEARCH listed USING COVERING INDEX listed_seq (account_id=? AND seq>?)",
		feedEvents:        "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)",
		othersBefore:      "SEARCH outcomes USING COVERING INDEX outcomes_account (account_id=? AND (at,seq,number)<(?,?,?))",
		firstAttempts:     "SEARCH o USING PRIMARY KEY (seq=? AND number=?)\nSEARCH d USING INTEGER PRIMARY KEY (rowid=?)",
		allAttempts:       "SEARCH o USING PRIMARY KEY (seq=? AND number>?)\nSEARCH d USING INTEGER PRIMARY KEY (rowid=?)",
		pendingOfMessages: "SEARCH e USING COVERING INDEX deliveries_message (message_id=? AND account_id=?)",
		all.count():       "SEARCH end USING PRIMARY KEY (seq=?)\nSEARCH d USING INTEGER PRIMARY KEY (rowid=?)",
		bulkRunning:       "SEARCH r USING INDEX replays_running (account_id=?)",
		bulksOf:           "SEARCH r USING INDEX replays_account (account_id=?)",
		bulkByID:          "SEARCH waiting USING INDEX waiting_replayed (account_id=?)",
		runningReplays:    "SEARCH replays USING COVERING INDEX replays_running (account_id>?)",
		all.query():       "SEARCH end USING PRIMARY KEY (seq=?)\nSEARCH d USING INTEGER PRIMARY KEY (rowid=?)",
	} {
		p := plan(t, s.read, query)
		sorts := strings.Contains(p, "TEMP B-TREE") && (query == listedBefore || query == listedAfter || query == othersBefore || query == feedPlaces)
		if scan.MatchString(p) || !strings.Contains(p, index) || sorts {
			t.Errorf("%s\nis not answered by %q alone:\n%s", query, index, p)
		}
	}
}

// work makes the writer prepare all its statements.
func work(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	h := &handed{}
	s.Listen(h)
	var events []store.Event
	for _, id := range []string{"1", "2", "3", "4", "5", "6"} {
		events = append(events, event(id))
	}
	_, err := s.Accept(ctx, events, now)
	check := func(e error) {
		if e != nil {
			t.Fatal(e)
		}
	}
	check(err)
	var outcomes []store.Outcome
	for i, d := range h.deliveries {
		o := store.Outcome{Delivery: d, Attempt: &store.Attempt{Number: 1, At: now}, State: store.Delivered}
		switch i {
		case 0:
			o.State = store.Failed
		case 1:
			o.State, o.Behind = store.Pending, true
		}
		outcomes = append(outcomes, o)
	}
	check(s.Record(ctx, outcomes, now))
	check(s.Record(ctx, outcomes, now))
	check(s.Replay(ctx, "a", "1", now))
	check(s.StartReplay(ctx, store.BulkReplay{ID: "r", AccountID: "a", StartedAt: now.Add(time.Hour)}))
	for range 3 {
		_, err = s.ContinueReplay(ctx, "a", now, 2)
		check(err)
	}
	_, err = s.MakeDue(ctx, "a", now, 10)
	check(err)
	_, err = s.Sweep(ctx, now.Add(1), 0, 3)
	check(err)
	check(s.DeleteWebhook(ctx, "a", now))
	check(s.DeleteAccount(ctx, "a"))
}

func plan(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	if !regexp.MustCompile(`^(SELECT|INSERT|UPDATE|DELETE|WITH)`).MatchString(query) {
		return ""
	}
	args := make([]any, 1000)
	rows, err := db.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	steps, err := collect(rows, func(r *sql.Rows) (string, error) {
		var id, parent, unused int
		var detail string
		err := r.Scan(&id, &parent, &unused, &detail)
		return detail, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(steps, "\n")
}
