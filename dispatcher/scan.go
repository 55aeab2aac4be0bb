package dispatcher

import (
	"context"
	"time"

	"github.com/recapito/recapito/dispatcher/lane"
)

// scan says how far it has come. Dispatcher.mu guards it.
type scan struct {
	lane.Scan
	begun int // how often; what was read before is worthless
}

// again begins it anew.
func (s *scan) again() {
	s.Done = false
	s.begun++
}

// scanner makes a lane for every account that has PENDING deliveries, a page
// at a time. The run loop owns it, and attends to the lanes between the pages.
type scanner struct {
	d     *Dispatcher
	after string
	scan  int // the one that it is at
	retry time.Time
}

const (
	scanPage     = 1000
	scanRetryGap = 500 * time.Millisecond // after an error of the store
)

// step reads a page, if any is to be read now, and reports whether there may be
// another one at once.
func (s *scanner) step(ctx context.Context) (more bool) {
	d := s.d
	d.mu.Lock()
	done := d.scan.Done
	if s.scan != d.scan.begun {
		s.scan, s.after = d.scan.begun, "" // from the beginning
	}
	d.mu.Unlock()
	if done || time.Now().Before(s.retry) {
		return false
	}
	accounts, err := d.cfg.Store.PendingAccounts(ctx, s.after, scanPage)
	now := time.Now()
	if err != nil {
		s.retry = now.Add(scanRetryGap)
		d.cfg.Logger.Error("reading the accounts with pending deliveries failed", "error", err)
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.scan != d.scan.begun {
		return true // some may not be this process's any more
	}
	for _, account := range accounts {
		d.memberOf(account).apply(now)
		s.after = account
	}
	if len(accounts) < scanPage {
		d.scan.Done, s.after = true, ""
		d.cfg.Logger.Debug("scanned accounts with pending deliveries", "lanes", len(d.lanes))
	}
	return !d.scan.Done
}
