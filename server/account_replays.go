package server

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

func (s *server) StartAccountReplay(ctx context.Context, r gen.StartAccountReplayRequestObject) (gen.StartAccountReplayResponseObject, error) {
	one, err := newReplay("", &r.Body.Filters, s.Now())
	if err != nil {
		return nil, err
	}
	g := store.ReplayGroup{ID: store.NewID("rpg_"), Query: one.Query, Asked: one.Asked, StartedAt: one.StartedAt}
	if r.Body.AccountIds != nil {
		g.Accounts = slices.Compact(slices.Sorted(slices.Values(*r.Body.AccountIds)))
	}
	note(ctx, "replay", g.ID)
	if err := s.Store.StartReplayGroup(ctx, g); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return nil, errReplayRunning
		}
		return nil, err
	}
	shown, err := s.showGroup(ctx, g.ID)
	if err != nil {
		return nil, err
	}
	return gen.StartAccountReplay202JSONResponse{
		Body: shown, Headers: gen.StartAccountReplay202ResponseHeaders{Location: s.BasePath + "/replays/" + g.ID},
	}, nil
}

func (s *server) ListAccountReplays(ctx context.Context, _ gen.ListAccountReplaysRequestObject) (gen.ListAccountReplaysResponseObject, error) {
	found, err := s.Store.ReplayGroups(ctx, mostReplays)
	if err != nil {
		return nil, err
	}
	out := gen.ListAccountReplays200JSONResponse{Replays: make([]gen.AccountReplay, 0, len(found))}
	for i := range found {
		shown, err := showGroup(&found[i], s.Now())
		if err != nil {
			return nil, err
		}
		out.Replays = append(out.Replays, shown)
	}
	return out, nil
}

func (s *server) GetAccountReplay(ctx context.Context, r gen.GetAccountReplayRequestObject) (gen.GetAccountReplayResponseObject, error) {
	shown, err := s.showGroup(ctx, r.ReplayID)
	return gen.GetAccountReplay200JSONResponse(shown), err
}

func (s *server) StopAccountReplay(ctx context.Context, r gen.StopAccountReplayRequestObject) (gen.StopAccountReplayResponseObject, error) {
	note(ctx, "replay", r.ReplayID)
	before, err := s.Store.ReplayGroup(ctx, r.ReplayID)
	if err == nil && !before.EndedAt.IsZero() {
		unchanged(ctx)
	}
	if err := s.Store.StopReplayGroup(ctx, r.ReplayID, s.Now()); err != nil {
		return nil, when(err, store.ErrNotFound, errNoReplay)
	}
	shown, err := s.showGroup(ctx, r.ReplayID)
	return gen.StopAccountReplay200JSONResponse(shown), err
}

// showGroup shows one as it stands now.
func (s *server) showGroup(ctx context.Context, id string) (gen.AccountReplay, error) {
	g, err := s.Store.ReplayGroup(ctx, id)
	if err != nil {
		return gen.AccountReplay{}, when(err, store.ErrNotFound, errNoReplay)
	}
	return showGroup(&g, s.Now())
}

func showGroup(g *store.ReplayGroup, now time.Time) (gen.AccountReplay, error) {
	sum := &g.Sum
	out := gen.AccountReplay{
		ID: g.ID, State: gen.AccountReplayState(g.State), StartedAt: showTime(g.StartedAt), EndedAt: showOptionalTime(g.EndedAt),
		Accounts: gen.AccountReplayCount{Begun: sum.Begun, Running: sum.Running, Skipped: g.Skipped},
		Matched:  sum.Matched, SentAgain: sum.SentAgain, Remaining: sum.Remaining(),
		LeftOut: gen.ReplayLeftOut{Damaged: sum.Damaged, Changed: sum.Changed},
		Rate:    perSecond(sum.SentAgain, g.StartedAt, g.EndedAt, now),
	}
	if g.Accounts != nil {
		out.AccountIds = &g.Accounts
	}
	return out, json.Unmarshal(g.Asked, &out.Filters)
}
