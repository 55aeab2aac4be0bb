package memory

import (
	"context"
	"time"

	"github.com/recapito/recapito/store"
)

// Replay implements [store.Replays].
func (s *Store) Replay(_ context.Context, accountID, eventID string, now time.Time) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	r, w := s.byEvent[[2]string{accountID, eventID}], s.webhook(accountID)
	switch {
	case r == nil:
		return store.ErrNotFound
	case r.State == store.Pending:
		return store.ErrConflict
	case w == nil:
		return store.ErrNoWebhook
	}
	s.replay(r, w, now)
	s.tellReplayed(w, []int64{r.Seq})
	return nil
}

// replay makes a row that has ended PENDING again.
func (s *Store) replay(r *row, w *store.Webhook, now time.Time) {
	s.totals[r.State]--
	s.totals[store.Pending]++
	s.tally(r.AccountID, now).AddPending(1, int64(len(r.payload)))
	r.Replay = r.Again(w, now)
	r.State, r.FinishedAt, r.DueAt = store.Pending, time.Time{}, now
	r.Failures, r.failedAt = 0, time.Time{}
}

func (s *Store) tellReplayed(w *store.Webhook, seqs []int64) {
	if s.listener != nil {
		s.listener.Replayed(w, seqs)
	}
}
