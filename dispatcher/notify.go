package dispatcher

import (
	"context"
	"time"
)

const (
	// notifyGap is how late the platform may be told of what is summed, or lasts.
	notifyGap = time.Minute
	// maxNotices bounds one commit of these.
	maxNotices = 100
)

// notify has the platform told of what is due, until ctx ends.
func notify(ctx context.Context, cfg *Config) {
	timer := time.NewTimer(notifyGap)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		n, err := cfg.Store.Notify(ctx, time.Now(), maxNotices)
		if err != nil && ctx.Err() == nil {
			cfg.Logger.Error("telling the platform of what is due failed; it is tried again", "error", err)
		}
		if n < maxNotices {
			timer.Reset(notifyGap)
		} else {
			timer.Reset(0)
		}
	}
}
