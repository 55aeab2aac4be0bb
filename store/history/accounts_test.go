package history_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/history"
)

// crowd are accounts that change while they are listed.
type crowd struct {
	now  time.Time
	have map[string]*member
}

// member has deliveries that wait since some times, in order, and what its tally was at
// the ends of minutes.
type member struct {
	state   store.HealthState
	waiting []time.Time
	pending map[int64]int64
}

func (c *crowd) ids() (all []string) {
	for id := range c.have {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

func (c *crowd) next(after string, n int, wanted func(*member) bool) (found []string) {
	for _, id := range c.ids() {
		if id > after && len(found) < n && wanted(c.have[id]) {
			found = append(found, id)
		}
	}
	return found
}

func (c *crowd) Waiting(after string, n int) ([]string, error) {
	return c.next(after, n, func(m *member) bool { return len(m.waiting) > 0 }), nil
}

func (c *crowd) Harm(r *history.Ranking, ids []string) error {
	for _, id := range ids {
		m := c.have[id]
		r.Add(id, m.pending[r.Minute], m.waiting[0])
	}
	return nil
}

func (c *crowd) InState(ids []string, states []store.HealthState) (in []string, err error) {
	for _, id := range ids {
		if slices.Contains(states, c.have[id].state) {
			in = append(in, id)
		}
	}
	return in, nil
}

func (c *crowd) After(id, _ string, states []store.HealthState, n int) ([]string, error) {
	return c.next(id, n, func(m *member) bool { return len(states) == 0 || slices.Contains(states, m.state) }), nil
}

func (c *crowd) Health(id string) (store.AccountHealth, error) {
	m := c.have[id]
	return store.AccountHealth{Account: store.Account{ID: id}, State: m.state, Pending: int64(len(m.waiting))}, nil
}

// pass lets time go by, in which deliveries are accepted and end.
func (c *crowd) pass(r *rapid.T) {
	later := c.now.Add(time.Duration(rapid.IntRange(0, 300).Draw(r, "seconds")) * time.Second)
	for minute := store.Minute(c.now); minute < store.Minute(later); minute++ {
		for _, m := range c.have {
			m.pending[minute] = int64(len(m.waiting))
		}
	}
	c.now = later
	for _, id := range c.ids() {
		m := c.have[id]
		m.waiting = m.waiting[rapid.IntRange(0, len(m.waiting)).Draw(r, "ended"):]
		for range rapid.IntRange(0, 3).Draw(r, "accepted") {
			m.waiting = append(m.waiting, c.now)
		}
	}
}

// Whoever reads the pages of a listing meets each account, whatever happens meanwhile and
// whoever answers: another process knows nothing of how they compared for the first page.
func TestNoAccountIsLeftOut(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := &crowd{now: time.Unix(1_800_000_000, 0), have: map[string]*member{}}
		for i := range rapid.IntRange(1, 8).Draw(r, "accounts") {
			state := rapid.SampledFrom([]store.HealthState{store.HealthHealthy, store.HealthFailing}).Draw(r, "state")
			c.have[fmt.Sprint("acc_", i)] = &member{state: state, pending: map[int64]int64{}}
		}
		c.pass(r)
		c.pass(r)
		q := store.AccountQuery{Limit: rapid.IntRange(1, 3).Draw(r, "limit")}
		if rapid.Bool().Draw(r, "by state") {
			q.States = []store.HealthState{store.HealthFailing}
		}
		same, kept := rapid.Bool().Draw(r, "one process"), &history.Rankings{}
		var seen []string
		for {
			if !same {
				kept = &history.Rankings{}
			}
			q.Now = c.now
			page, err := kept.Accounts(&q, c)
			if err != nil {
				r.Fatal(err)
			}
			for _, h := range page.Accounts {
				seen = append(seen, h.ID)
			}
			if q.After = page.Next; q.After == (store.AccountPlace{}) {
				break
			}
			c.pass(r)
		}
		for _, id := range c.ids() {
			if (q.States == nil || c.have[id].state == store.HealthFailing) && !slices.Contains(seen, id) {
				r.Fatalf("listed %v: %s is missing", seen, id)
			}
		}
		if once := slices.Compact(slices.Sorted(slices.Values(seen))); same && len(once) != len(seen) {
			r.Fatalf("listed %v by one process: one of them twice", seen)
		}
	})
}

// busy is a source that is long about a ranking.
type busy struct {
	crowd
	begun, goOn chan struct{}
}

func (b *busy) Harm(r *history.Ranking, ids []string) error {
	close(b.begun)
	<-b.goOn
	return b.crowd.Harm(r, ids)
}

// A page of a ranking that is known comes while another one is made.
func TestKnownRankingDoesNotWaitForAnother(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	have := map[string]*member{}
	for _, id := range []string{"acc_1", "acc_2"} {
		have[id] = &member{state: store.HealthFailing, waiting: []time.Time{now.Add(-time.Hour)}, pending: map[int64]int64{store.RankedBy(now): 1}}
	}
	var kept history.Rankings
	quiet := &crowd{now: now, have: have}
	first, err := kept.Accounts(&store.AccountQuery{Limit: 1, Now: now}, quiet)
	if err != nil || first.Next == (store.AccountPlace{}) {
		t.Fatalf("the first page: %+v and %v, want one that goes on", first, err)
	}
	another := &busy{crowd: crowd{now: now, have: have}, begun: make(chan struct{}), goOn: make(chan struct{})}
	done := make(chan error)
	go func() {
		_, err := kept.Accounts(&store.AccountQuery{Limit: 1, Now: now.Add(time.Hour)}, another)
		done <- err
	}()
	<-another.begun
	second, err := kept.Accounts(&store.AccountQuery{Limit: 1, Now: now, After: first.Next}, quiet)
	if err != nil || len(second.Accounts) != 1 {
		t.Errorf("the second page: %+v and %v, want one account", second, err)
	}
	close(another.goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
