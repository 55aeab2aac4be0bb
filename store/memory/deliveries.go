package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/recapito/recapito/store"
)

// Accept implements [store.Intake].
func (s *Store) Accept(_ context.Context, events []store.Event, now time.Time) ([]store.Verdict, error) {
	if err := s.lock(); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	verdicts := make([]store.Verdict, len(events))
	var batch []store.Acceptance
	for i := range events {
		e := &events[i]
		w := s.webhook(e.AccountID)
		_, known := s.accounts[e.AccountID]
		switch {
		case w == nil && !known:
			verdicts[i] = store.UnknownAccount
		case w == nil:
			verdicts[i] = store.NoWebhook
			s.tally(e.AccountID, now).AddSkipped()
		case s.byEvent[[2]string{e.AccountID, e.ID}] != nil:
			verdicts[i] = store.Reused
			if store.SameContent(s.byEvent[[2]string{e.AccountID, e.ID}].payload, e.Payload) {
				verdicts[i] = store.Duplicate
			}
		case !s.hasRoom(e, now):
			verdicts[i] = store.OverQuota
		default:
			verdicts[i] = store.Accepted
			batch = append(batch, store.Acceptance{Delivery: s.accept(e, now), Webhook: w})
		}
	}
	if s.listener != nil && len(batch) > 0 {
		s.listener.Accepted(batch)
	}
	return verdicts, nil
}

// hasRoom reports whether an event is within the quota of its account.
func (s *Store) hasRoom(e *store.Event, now time.Time) bool {
	t := s.tally(e.AccountID, now)
	return s.quota.Holds(t.Pending()+1, t.PendingBytes()+int64(len(e.Payload)))
}

func (s *Store) accept(e *store.Event, now time.Time) store.Delivery {
	message := [2]string{e.AccountID, e.MessageID}
	sequence := int64(1)
	for _, o := range s.messages[message] {
		if o.channel == e.Channel && o.part == e.Part {
			sequence = max(sequence, o.sequence+1)
		}
	}
	s.seq++
	r := &row{channel: e.Channel, part: e.Part, payload: bytes.Clone(e.Payload), sequence: sequence, Delivery: store.Delivery{
		Seq: s.seq, AccountID: e.AccountID, EventID: e.ID, MessageID: e.MessageID,
		Body: store.Body(e.Payload, sequence), AcceptedAt: now, Traceparent: e.Traceparent, State: store.Pending,
	}}
	s.rows = append(s.rows, r)
	s.bySeq[r.Seq] = r
	s.byEvent[[2]string{e.AccountID, e.ID}] = r
	s.messages[message] = append(s.messages[message], r)
	s.totals[store.Pending]++
	s.tally(r.AccountID, now).AddPending(1, int64(len(r.payload)))
	return s.read(r)
}

// drop removes a row everywhere but in rows.
func (s *Store) drop(r *row) {
	message := [2]string{r.AccountID, r.MessageID}
	delete(s.bySeq, r.Seq)
	delete(s.byEvent, [2]string{r.AccountID, r.EventID})
	s.messages[message] = slices.DeleteFunc(s.messages[message], func(o *row) bool { return o == r })
	if len(s.messages[message]) == 0 {
		delete(s.messages, message)
	}
	s.totals[r.State]--
}

// finish ends a PENDING row.
func (s *Store) finish(r *row, state store.State, now time.Time) {
	s.totals[r.State]--
	s.totals[state]++
	s.tally(r.AccountID, now).AddPending(-1, -int64(len(r.payload)))
	if state == store.Failed {
		s.gaveUp(r.AccountID, 1, now)
	}
	r.State, r.FinishedAt, r.DueAt, r.Replay = state, now, time.Time{}, store.Replay{}
}

// read copies a row. Of one that is PENDING it says what it is behind.
func (s *Store) read(r *row) store.Delivery {
	d := r.Delivery
	d.Body = bytes.Clone(d.Body)
	if d.State != store.Pending {
		return d
	}
	d.FailedAt = r.failedAt
	for _, o := range s.messages[[2]string{r.AccountID, r.MessageID}] {
		if o.Seq < r.Seq && o.State == store.Pending && o.IsReplay() == r.IsReplay() {
			d.Behind.Add(o.DueAt, o.failedAt, time.Now())
		}
	}
	return d
}

// pending visits the account's PENDING rows in order of Seq, until visit
// returns false.
func (s *Store) pending(accountID string, visit func(*row) bool) {
	for _, r := range s.rows {
		if r.AccountID == accountID && r.State == store.Pending && !visit(r) {
			return
		}
	}
}

// LastAccepted implements [store.Queue].
func (s *Store) LastAccepted(context.Context) (at time.Time, err error) {
	if err := s.lock(); err != nil {
		return at, err
	}
	defer s.mu.Unlock()
	if n := len(s.rows); n > 0 {
		at = s.rows[n-1].AcceptedAt
	}
	return at, nil
}

// PendingAccounts implements [store.Queue].
func (s *Store) PendingAccounts(_ context.Context, after string, limit int) ([]string, error) {
	if err := s.lock(); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.rows {
		if r.State == store.Pending && r.AccountID > after {
			out = append(out, r.AccountID)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(limit, len(out))], nil
}

// Backlog implements [store.Queue].
func (s *Store) Backlog(_ context.Context, q store.BacklogQuery) (store.Backlog, error) {
	if err := s.lock(); err != nil {
		return store.Backlog{}, err
	}
	defer s.mu.Unlock()
	b := store.Backlog{Webhook: s.webhook(q.AccountID)}
	var due, replays []*row
	s.pending(q.AccountID, func(r *row) bool {
		switch {
		case r.DueAt.IsZero():
			if r.Seq > q.After && len(b.Fresh) < q.Fresh {
				b.Fresh = append(b.Fresh, s.read(r))
			}
		case !r.DueAt.After(q.Now):
			switch {
			case slices.Contains(q.Known, r.Seq):
			case r.IsReplay():
				replays = append(replays, r)
			default:
				due = append(due, r)
			}
		case b.NextDue.IsZero() || r.DueAt.Before(b.NextDue):
			b.NextDue = r.DueAt
		}
		return true
	})
	b.Due, b.Replays = s.longestDue(due, q.Due), s.longestDue(replays, q.Replays)
	return b, nil
}

// longestDue reads up to limit of the rows, longest due first.
func (s *Store) longestDue(rows []*row, limit int) (ds []store.Delivery) {
	slices.SortStableFunc(rows, func(a, b *row) int { return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.Seq, b.Seq)) })
	for _, r := range rows[:min(len(rows), limit)] {
		ds = append(ds, s.read(r))
	}
	return ds
}

// Oldest implements [store.Queue].
func (s *Store) Oldest(_ context.Context, accountID string) (store.Backlog, error) {
	if err := s.lock(); err != nil {
		return store.Backlog{}, err
	}
	defer s.mu.Unlock()
	b := store.Backlog{Webhook: s.webhook(accountID)}
	var replay *row
	s.pending(accountID, func(r *row) bool {
		switch {
		case !r.IsReplay():
			if len(b.Fresh) == 0 {
				b.Fresh = []store.Delivery{s.read(r)}
			}
		case replay == nil || r.Replay.At.Before(replay.Replay.At):
			replay = r
		}
		return true
	})
	if replay != nil {
		b.Replays = []store.Delivery{s.read(replay)}
	}
	return b, nil
}

// Record implements [store.Queue].
func (s *Store) Record(_ context.Context, outcomes []store.Outcome, now time.Time) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	for i := range outcomes {
		o := &outcomes[i]
		if r := s.bySeq[o.Delivery.Seq]; r != nil && r.AccountID == o.Delivery.AccountID {
			s.record(r, o, now)
		}
	}
	return nil
}

func (s *Store) record(r *row, o *store.Outcome, now time.Time) {
	known := false
	if a := o.Attempt; a != nil {
		known = slices.ContainsFunc(r.attempts, func(b store.Attempt) bool { return b.Number == a.Number })
	}
	if a := o.Attempt; a != nil && !known {
		own := *a
		own.Response = bytes.Clone(a.Response)
		r.attempts = append(r.attempts, own)
		r.Attempts = max(r.Attempts, a.Number)
		s.tally(r.AccountID, now).AddAttempt(r.Seq, a)
		if r.IsReplay() && !r.Replay.At.Equal(o.Delivery.Replay.At) {
			r.Replay.Attempts = max(r.Replay.Attempts, a.Number)
		}
	}
	if r.State != store.Pending || !r.Replay.At.Equal(o.Delivery.Replay.At) || (known && o.State == store.Pending) {
		return
	}
	if o.Attempt != nil && !known {
		if r.Failures == 0 && o.Failures > 0 {
			r.failedAt = o.Attempt.At.Add(o.Attempt.Duration)
		}
		r.Failures = o.Failures
	}
	if o.State == store.Pending {
		r.DueAt = o.DueAt
		if d := s.read(r); o.Behind && !d.Behind.Any() || o.DueAt.IsZero() && r.IsReplay() {
			r.DueAt = now
		}
		return
	}
	replayed := r.IsReplay()
	s.finish(r, o.State, now)
	if o.Releases() {
		for _, x := range s.messages[[2]string{r.AccountID, r.MessageID}] {
			if x.State == store.Pending && x.IsReplay() == replayed && !x.Begun() && x.DueAt.After(now) {
				x.DueAt = now
			}
		}
	}
}

// MakeDue implements [store.Upkeep].
func (s *Store) MakeDue(_ context.Context, accountID string, now time.Time, limit int) (n int, err error) {
	if err := s.lock(); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	n = s.some(accountID, limit, func(r *row) bool {
		if !r.DueAt.After(now) {
			return false
		}
		r.DueAt = now
		return true
	})
	if w, ok := s.webhooks[accountID]; ok && n < limit {
		w.MakeDue = false
		s.webhooks[accountID] = w
	}
	return n, nil
}

// Expire implements [store.Upkeep].
func (s *Store) Expire(_ context.Context, accountID string, before, now time.Time, limit int) (int, error) {
	if err := s.lock(); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	return s.some(accountID, limit, func(r *row) bool {
		if !r.Since().Before(before) {
			return false
		}
		s.finish(r, store.Failed, now)
		return true
	}), nil
}

// Cancel implements [store.Upkeep].
func (s *Store) Cancel(_ context.Context, accountID string, now time.Time, limit int) (int, error) {
	if err := s.lock(); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	return s.cancel(accountID, now, limit), nil
}

func (s *Store) cancel(accountID string, now time.Time, limit int) (n int) {
	w := s.webhook(accountID)
	return s.some(accountID, limit, func(r *row) bool {
		if w != nil && r.GoesTo(w) {
			return false
		}
		s.finish(r, store.Cancelled, now)
		return true
	})
}

// some changes up to limit of the account's PENDING rows, and returns how many.
func (s *Store) some(accountID string, limit int, change func(*row) bool) (n int) {
	s.pending(accountID, func(r *row) bool {
		if n < limit && change(r) {
			n++
		}
		return n < limit
	})
	return n
}

// Sweep implements [store.Upkeep].
func (s *Store) Sweep(_ context.Context, now time.Time, retention time.Duration, limit int) (n int, err error) {
	if err := s.lock(); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	for id, w := range s.webhooks {
		w.OldSecrets = slices.DeleteFunc(w.Clone().OldSecrets, func(o store.OldSecret) bool { return !now.Before(o.Until) })
		s.webhooks[id] = w
	}
	s.bulks = slices.DeleteFunc(s.bulks, func(b *bulk) bool { return !b.EndedAt.IsZero() && b.EndedAt.Before(now.Add(-retention)) })
	s.groups = slices.DeleteFunc(s.groups, func(g *group) bool { return !g.EndedAt.IsZero() && g.EndedAt.Before(now.Add(-retention)) })
	var old []*row
	for _, r := range s.rows {
		if r.State != store.Pending && r.FinishedAt.Before(now.Add(-retention)) {
			old = append(old, r)
		}
	}
	slices.SortStableFunc(old, func(a, b *row) int { return a.FinishedAt.Compare(b.FinishedAt) })
	old = old[:min(limit, len(old))]
	for _, r := range old {
		s.drop(r)
	}
	s.rows = slices.DeleteFunc(s.rows, func(r *row) bool { return s.bySeq[r.Seq] != r })
	return len(old), nil
}
