package dispatcher

import (
	"context"
	"time"
)

const (
	// bulkSize is how many deliveries one step of a bulk replay makes PENDING, while
	// fewer wait for their attempt. So a job of millions leaves a lane with a few hundred, and
	// what the platform hands in waits for a short commit at most.
	bulkSize = 100
	// bulkPause is between two rounds of steps, one of each bulk replay. It is longer
	// after a round that took long, as the store is busy with what is new: bulkShare
	// times as long as that. It doubles up to maxBulkPause while there is nothing to do
	// for any of them.
	bulkPause    = 25 * time.Millisecond
	bulkShare    = 3
	maxBulkPause = 5 * time.Second
	bulkPage     = 100 // accounts that are read together
	// bulkLook is how late a bulk replay is found of which nobody was told, as the
	// commit that began it was uncertain.
	bulkLook = time.Minute
)

// bulk makes PENDING what bulk replays send again.
type bulk struct {
	cfg     *Config
	started chan struct{} // holds a token while there may be another
	failed  notice
	ended   ended
}

func newBulk(cfg *Config) bulk {
	return bulk{cfg: cfg, started: make(chan struct{}, 1), ended: ended{cfg: cfg, accounts: map[string]time.Time{}}}
}

// wake has it look for another one.
func (b *bulk) wake() {
	select {
	case b.started <- struct{}{}:
	default:
	}
}

// run takes the bulk replays further, in turn, until ctx ends. Those that an earlier
// process has begun go on.
func (b *bulk) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause, after := bulkPause, ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.started:
			pause = bulkPause
		case <-timer.C:
		}
		began := time.Now()
		group, starts := b.stepGroup(ctx)
		last, found, worked := b.stepReplays(ctx, after)
		found, worked = found || group, worked || starts
		switch after = last; {
		case worked || after != "":
			pause = max(bulkPause, bulkShare*time.Since(began))
		default:
			pause = min(2*pause, maxBulkPause)
		}
		if !found && after == "" {
			pause = bulkLook
		}
		timer.Reset(pause)
	}
}

// stepReplays takes those of a page of accounts one step further. last is where the
// next page begins; empty: at the first.
func (b *bulk) stepReplays(ctx context.Context, after string) (last string, found, worked bool) {
	accounts, err := b.cfg.Store.RunningReplays(ctx, after, bulkPage)
	if err != nil {
		b.tell(ctx, "", err)
		return after, true, false
	}
	b.ended.replays(ctx, after, accounts)
	for _, account := range accounts {
		did, err := b.stepReplay(ctx, account)
		if err != nil {
			b.tell(ctx, account, err)
		}
		worked = worked || did && err == nil
	}
	if len(accounts) == bulkPage {
		last = accounts[bulkPage-1]
	}
	return last, len(accounts) > 0 || after != "", worked
}

// stepGroup takes the replay of several accounts one step further. running: there is
// one.
func (b *bulk) stepGroup(ctx context.Context) (running, worked bool) {
	running, worked, err := b.cfg.Store.ContinueReplayGroup(ctx, time.Now(), bulkPage)
	if err != nil {
		b.tell(ctx, "", err)
		return true, false
	}
	b.ended.group(ctx, running)
	return running, worked
}

func (b *bulk) stepReplay(ctx context.Context, account string) (worked bool, err error) {
	defer survive(b.cfg.Logger, "a bulk replay", account, &err)
	return b.cfg.Store.ContinueReplay(ctx, account, time.Now(), bulkSize)
}

func (b *bulk) tell(ctx context.Context, account string, err error) {
	if ctx.Err() == nil && b.failed.due(err.Error(), time.Now()) {
		b.cfg.Logger.Error("a bulk replay failed, and is tried again", "account", account, "error", err)
	}
}
