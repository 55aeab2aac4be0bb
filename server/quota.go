package server

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/recapito/recapito/store"
)

// quotas tell the operator which accounts are over their quota: when that begins, and
// when it has ended.
type quotas struct {
	log  *slog.Logger
	mu   sync.Mutex
	over map[string]*overQuota // by account
}

type overQuota struct {
	last    time.Time // when an event was skipped last
	skipped int       // since it began
}

const (
	// withinAgain is how long no event of an account must have been skipped.
	withinAgain = time.Minute
	// maxOverQuota bounds the accounts. What is known of them is forgotten beyond that.
	maxOverQuota = 16384
)

// note looks at what became of a batch.
func (q *quotas) note(events []store.Event, verdicts []store.Verdict, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.over) == 0 && !slices.Contains(verdicts, store.OverQuota) {
		return
	}
	for i, v := range verdicts {
		account := events[i].AccountID
		switch is := q.over[account]; {
		case v == store.OverQuota && is == nil:
			if len(q.over) >= maxOverQuota {
				clear(q.over)
			}
			q.over[account] = &overQuota{now, 1}
			q.log.Warn("account over quota: its events are skipped", "account", account)
		case v == store.OverQuota:
			is.last, is.skipped = now, is.skipped+1
		case v == store.Accepted && is != nil && now.Sub(is.last) >= withinAgain:
			delete(q.over, account)
			q.log.Info("account within quota again", "account", account, "skipped", is.skipped)
		}
	}
}
