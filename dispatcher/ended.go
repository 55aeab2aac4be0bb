package dispatcher

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// ended finds which bulk replays have ended since it looked last, of themselves or not,
// and tells the operator once of each. Of one that ends while no process runs nothing is
// told.
type ended struct {
	cfg      *Config
	accounts map[string]time.Time // with one that went on, and since when it is known
	groups   bool                 // that of several accounts went on
}

// mostEnded is how many of an account may have ended between two looks.
const mostEnded = 10

// replays is told which accounts of a page have one that goes on: all after an account or,
// if the page is full, up to its last one.
func (e *ended) replays(ctx context.Context, after string, going []string) {
	for _, account := range slices.Sorted(maps.Keys(e.accounts)) {
		beyond := len(going) == bulkPage && account > going[bulkPage-1]
		if account <= after || beyond || slices.Contains(going, account) {
			continue
		}
		if e.replay(ctx, account) {
			delete(e.accounts, account)
		}
	}
	for _, account := range going {
		if e.accounts[account].IsZero() {
			e.accounts[account] = time.Now().Truncate(time.Microsecond)
		}
	}
}

// replay tells of those of an account that have ended since, and reports whether they could
// be read: one may have begun as soon as the other had ended.
func (e *ended) replay(ctx context.Context, account string) bool {
	found, err := e.cfg.Store.BulkReplays(ctx, account, mostEnded)
	if err != nil {
		return false
	}
	for i := len(found) - 1; i >= 0; i-- {
		r := &found[i]
		if r.EndedAt.Before(e.accounts[account]) {
			continue // it was told, or another process goes on with it
		}
		e.tell(slog.String("account", account), slog.String("replay", r.ID), slog.String("state", string(r.State)),
			slog.Int64("matched", r.Matched), slog.Int64("sent_again", r.SentAgain()), slog.Int64("left_out", r.Damaged+r.Changed()),
			slog.Duration("took", r.EndedAt.Sub(r.StartedAt).Round(time.Millisecond)))
	}
	return true
}

// group is told whether the replay of several accounts goes on.
func (e *ended) group(ctx context.Context, going bool) {
	if going || !e.groups {
		e.groups = e.groups || going
		return
	}
	found, err := e.cfg.Store.ReplayGroups(ctx, 1)
	if err != nil {
		return
	}
	e.groups = false
	if len(found) == 0 || found[0].EndedAt.IsZero() {
		return
	}
	g := &found[0]
	e.tell(slog.String("replay", g.ID), slog.String("state", string(g.State)), slog.Int64("accounts", g.Sum.Begun), slog.Int64("skipped", g.Skipped),
		slog.Int64("matched", g.Sum.Matched), slog.Int64("sent_again", g.Sum.SentAgain), slog.Int64("left_out", g.Sum.Damaged+g.Sum.Changed),
		slog.Duration("took", g.EndedAt.Sub(g.StartedAt).Round(time.Millisecond)))
}

func (e *ended) tell(attrs ...slog.Attr) {
	e.cfg.Logger.LogAttrs(context.Background(), slog.LevelInfo, ReplayEnded.words(), attrs...)
	e.cfg.Tell.Change(ReplayEnded)
}
