package postgres

import (
	"fmt"
	"slices"
	"testing"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/postgres/pgtest"
)

// passed counts what is PENDING up to the mark of its shard and not in the table of what
// waits: nobody would find it.
func passed(t *testing.T, s *Store) (n int) {
	t.Helper()
	err := s.one(t.Context(), `SELECT count(*) FROM deliveries d JOIN shards h ON h.shard = d.shard AND d.seq <= h.mark
		WHERE `+isPending(`d.seq`)+` AND NOT EXISTS (SELECT FROM waiting w WHERE w.seq = d.seq)`, nil, &n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// entered counts what is in the table of what waits.
func entered(t *testing.T, s *Store) (n int) {
	t.Helper()
	if err := s.one(t.Context(), `SELECT count(*) FROM waiting`, nil, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Whoever takes an account over finds what waits in a table, however much has ended.
func TestWhatWaitsIsEnteredWithinSeconds(t *testing.T) {
	s := open(t, pgtest.Database(t))
	ready(t, s, "a")
	if err := acceptOne(s, "e1"); err != nil {
		t.Fatal(err)
	}
	const seconds = 20
	var first, beat int64
	eventually(t, "what waits to be entered", func() bool {
		if err := s.one(t.Context(), `SELECT beat FROM nodes`, nil, &beat); err != nil {
			t.Fatal(err)
		}
		if first == 0 {
			first = beat
		}
		return entered(t, s) > 0 || beat-first > seconds*2 // beats are half a second apart
	})
	if entered(t, s) != 1 || passed(t, s) != 0 {
		t.Errorf("after %d beats %d are entered, and %d are not and up to their mark; want 1, and none", beat-first, entered(t, s), passed(t, s))
	}
}

func TestAMarkPassesNothingThatWasNotLookedAt(t *testing.T) {
	s := open(t, pgtest.Database(t))
	ready(t, s, "a")
	events := make([]store.Event, enterRows+10) // a commit looks at fewer
	for i := range events {
		events[i] = event("a", fmt.Sprint("e", i))
	}
	if _, err := s.Accept(t.Context(), events, t0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{enterRows, len(events)} {
		if err := s.w.do(t.Context(), (*txn).enterAll); err != nil {
			t.Fatal(err)
		}
		if n := entered(t, s); n < want || passed(t, s) != 0 {
			t.Errorf("%d are entered, and %d are not and up to their mark; want %d, and none", n, passed(t, s), want)
		}
	}
}

// A shard whose node has died has a mark behind those of the shards that its next node had
// before.
func TestWhatAShardBroughtAlongIsEntered(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url)
	ready(t, s, "a")
	if err := acceptOne(s, "e1"); err != nil {
		t.Fatal(err)
	}
	execute(t, url, fmt.Sprintf(`UPDATE shards SET mark = (SELECT max(seq) FROM deliveries) WHERE shard <> %d`, shardOf("a")))
	if err := s.w.do(t.Context(), (*txn).enterAll); err != nil {
		t.Fatal(err)
	}
	if entered(t, s) != 1 || passed(t, s) != 0 {
		t.Errorf("%d are entered, and %d are not and up to their mark; want 1, and none", entered(t, s), passed(t, s))
	}
	accounts, err := s.PendingAccounts(t.Context(), "", 10)
	if err != nil || !slices.Equal(accounts, []string{"a"}) {
		t.Errorf("accounts with PENDING deliveries: got %v (%v), want a", accounts, err)
	}
}
