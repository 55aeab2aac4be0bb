package dispatcher

import (
	"context"
	"time"
)

// accountScan makes a lane for every account that has PENDING deliveries, a page
// at a time. The run loop owns it, and attends to the lanes between the pages.
type accountScan struct {
	d     *Dispatcher
	after string
	scan  int // of d.scans, at the last step
	retry time.Time
}

const scanPage = 1000

// step reads a page, if any is to be read now, and reports whether there may be
// another one at once.
func (s *accountScan) step(ctx context.Context) (more bool) {
	d := s.d
	d.mu.Lock()
	done := d.scanned
	if s.scan != d.scans {
		s.scan, s.after = d.scans, "" // from the beginning
	}
	d.mu.Unlock()
	if done || time.Now().Before(s.retry) {
		return false
	}
	accounts, err := d.cfg.Store.PendingAccounts(ctx, s.after, scanPage)
	now := time.Now()
	if err != nil {
		s.retry = now.Add(storeRetryGap)
		d.cfg.Logger.Error("reading the accounts with pending deliveries failed", "error", err)
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.scan != d.scans {
		return true // some may not be this process's any more
	}
	for _, account := range accounts {
		l := d.laneOf(account)
		d.reconsider(l, now)
		s.after = account
	}
	if len(accounts) < scanPage {
		d.scanned, s.after = true, ""
		d.cfg.Logger.Debug("scanned accounts with pending deliveries", "lanes", len(d.lanes))
	}
	return !d.scanned
}
