package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/sqlite"
	"github.com/recapito/recapito/verify/rig"
)

// seed fills a run's database before its service starts: over HTTP it would
// take an hour.
func (r *run) seed(fill func(context.Context, *sqlite.Store) error) error {
	ctx := context.Background()
	st, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(r.dir, "recapito.db")})
	if err != nil {
		return err
	}
	return errors.Join(fill(ctx, st), st.Close())
}

func seedKey(i int) string { return fmt.Sprintf("key_of_account_%d", i) }

// seedAccounts makes accounts with a key and a webhook each.
func seedAccounts(ctx context.Context, st *sqlite.Store, n int, url func(i int) string) error {
	now := time.Now()
	return spread(n, 256, func(i int) error {
		id := rig.Account(i)
		if _, _, err := st.PutAccount(ctx, id, now); err != nil {
			return err
		}
		if err := st.AddAPIKey(ctx, store.APIKey{Hash: store.HashKey(seedKey(i)), ID: "key_1", AccountID: id, Hint: "seed", CreatedAt: now}); err != nil {
			return err
		}
		_, err := st.CreateWebhook(ctx, store.Webhook{ID: store.NewID("wh_"), AccountID: id, CallbackURL: url(i), Status: store.Active,
			Secret: store.NewSecret(), CreatedAt: now, UpdatedAt: now})
		return err
	})
}

// seedHistory makes n deliveries that have ended so, in the past, numbered from one on.
func seedHistory(ctx context.Context, st *sqlite.Store, number, n, accounts int, from, to time.Time, end store.Outcome) error {
	const batch = 1000
	heard := &acceptances{}
	st.Listen(heard)
	for first := 0; first < n; first += batch {
		now := from.Add(time.Duration(float64(to.Sub(from)) * float64(first) / float64(n)))
		events := make([]store.Event, batch)
		for i := range events {
			at := number + first + i
			events[i] = store.Event{AccountID: rig.Account(at % accounts), ID: fmt.Sprintf("old_%012d", at), MessageID: fmt.Sprintf("old-%012d", at),
				Channel: "SMS", Payload: []byte(rig.CallbackBody)}
		}
		heard.batch = heard.batch[:0]
		if _, err := st.Accept(ctx, events, now); err != nil {
			return err
		}
		outcomes := make([]store.Outcome, len(heard.batch))
		for i := range heard.batch {
			attempt := *end.Attempt
			attempt.At = now
			outcomes[i] = end
			outcomes[i].Delivery, outcomes[i].Attempt = &heard.batch[i].Delivery, &attempt
		}
		if err := st.Record(ctx, outcomes, now); err != nil {
			return err
		}
	}
	return nil
}

// acceptances is a listener that keeps what was accepted, in one commit or in several.
type acceptances struct{ batch []store.Acceptance }

func (a *acceptances) Accepted(batch []store.Acceptance)   { a.batch = append(a.batch, batch...) }
func (*acceptances) ReplayStarted()                        {}
func (*acceptances) Replayed(*store.Webhook, []int64)      {}
func (*acceptances) WebhookChanged(string, *store.Webhook) {}
func (*acceptances) HealthChanged([]store.HealthChange)    {}
func (*acceptances) Uncertain([]string)                    {}
func (*acceptances) Gained()                               {}
func (*acceptances) Freed([]string)                        {}

func (*acceptances) Lost(func(string) bool) (<-chan struct{}, func() []string) {
	return nil, func() []string { return nil }
}

// spread does n things, so many at a time.
func spread(n, atOnce int, do func(i int) error) error {
	errs := make([]error, atOnce)
	var workers sync.WaitGroup
	for w := range errs {
		workers.Go(func() {
			for i := w; i < n && errs[w] == nil; i += atOnce {
				errs[w] = do(i)
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}
