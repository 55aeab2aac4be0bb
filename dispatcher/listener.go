package dispatcher

import (
	"time"

	"github.com/recapito/recapito/dispatcher/lane"
	"github.com/recapito/recapito/store"
)

var _ store.Listener = (*Dispatcher)(nil)

// Accepted implements [store.Listener]: the fast path, from the commit to the
// lanes without a read.
func (d *Dispatcher) Accepted(batch []store.Acceptance) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.workers.running() {
		return // the next start reads it
	}
	d.sweeper.accepted.Add(int64(len(batch)))
	touched := make([]*member, 0, len(batch))
	for i := range batch {
		m := d.memberOf(batch[i].Delivery.AccountID)
		m.offer(&batch[i], now)
		if n := len(touched); n == 0 || touched[n-1] != m {
			touched = append(touched, m)
		}
	}
	for _, m := range touched {
		m.apply(now)
	}
	d.startAttempts(now)
}

// Replayed implements [store.Listener].
func (d *Dispatcher) Replayed(w *store.Webhook, seqs []int64) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.workers.running() {
		return // the next start reads it
	}
	m := d.memberOf(w.AccountID)
	m.Replayed(w, seqs, now)
	m.apply(now)
}

// ReplayStarted implements [store.Listener].
func (d *Dispatcher) ReplayStarted() { d.bulk.wake() }

// WebhookChanged implements [store.Listener]. When it returns, no attempt
// begins that would go to the old URL: those under way ask [lane.Lane.Proceed]
// before their first byte.
func (d *Dispatcher) WebhookChanged(account string, w *store.Webhook) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lanes[account] == nil && d.scan.Done {
		return // nothing pending; the next delivery brings the webhook along
	}
	m := d.memberOf(account)
	m.Changed(w, now)
	m.apply(now)
}

// Uncertain implements [store.Listener]: a commit failed and may have happened
// all the same, so that the lanes of these accounts read anew.
func (d *Dispatcher) Uncertain(accounts []string) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.workers.running() {
		return // the next start reads it
	}
	for _, account := range accounts {
		m := d.memberOf(account)
		m.ReadAnew(now)
		m.apply(now)
	}
}

// Probe has an account's open breaker probe now, in place of when its gap is over. It
// knows of the accounts that this process attempts for.
func (d *Dispatcher) Probe(account string, now time.Time) store.Probing {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.lanes[account]
	if m == nil {
		return store.NotOpen
	}
	p := m.ProbeNow(now)
	m.apply(now)
	d.startAttempts(now)
	return p
}

// Waits says what each of an account's PENDING deliveries waits for. They and
// the webhook are as the store has them; nil: there is no webhook.
func (d *Dispatcher) Waits(account string, w *store.Webhook, pending []store.Delivery, now time.Time) []store.Wait {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.lanes[account]
	if m == nil {
		m = &member{Lane: lane.New(&d.cfg.lane, account, d.scan.Scan)} // the scan of the start has not found it yet
	}
	waits := make([]store.Wait, len(pending))
	for i := range pending {
		waits[i] = m.Wait(w, &pending[i], now)
	}
	return waits
}
