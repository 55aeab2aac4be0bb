package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

var (
	errNoReplay      = &refusal{status: http.StatusNotFound, code: gen.ProblemCodeREPLAYNOTFOUND, detail: "There is no such bulk replay."}
	errReplayRunning = &refusal{status: http.StatusConflict, code: gen.ProblemCodeREPLAYRUNNING, detail: "A bulk replay goes on; stop it or wait for its end."}
)

// mostReplays is what the document states for a list of bulk replays.
const mostReplays = 100

func (s *server) StartReplay(ctx context.Context, r gen.StartReplayRequestObject) (gen.StartReplayResponseObject, error) {
	account := accountOf(ctx)
	replay, err := newReplay(account, r.Body, s.Now())
	if err != nil {
		return nil, err
	}
	note(ctx, "replay", replay.ID)
	if err := s.Store.StartReplay(ctx, replay); err != nil {
		switch {
		case errors.Is(err, store.ErrConflict):
			return nil, errReplayRunning
		case errors.Is(err, store.ErrNoWebhook):
			return nil, errWebhookMissing
		}
		return nil, err
	}
	shown, err := s.showReplay(ctx, account, replay.ID)
	if err != nil {
		return nil, err
	}
	return gen.StartReplay202JSONResponse{
		Body: shown, Headers: gen.StartReplay202ResponseHeaders{Location: s.BasePath + "/webhooks/delivery-status/replays/" + replay.ID},
	}, nil
}

// newReplay is one of an account that the filters ask for.
func newReplay(account string, f *gen.ReplayFilters, now time.Time) (store.BulkReplay, error) {
	asked, err := json.Marshal(f)
	if err != nil {
		return store.BulkReplay{}, err
	}
	q := store.DeliveryQuery{
		MessageID: value(f.MessageID), Channel: string(value(f.Channel)), Error: store.ErrorKind(value(f.Error)), StatusCode: int(value(f.Status)),
		From: time.Time(value(f.From)), To: time.Time(value(f.To)),
		FinishedFrom: time.Time(value(f.FinishedFrom)), FinishedTo: time.Time(value(f.FinishedTo)), FailedSince: time.Time(value(f.FailedSince)),
	}
	for _, state := range value(f.State) {
		q.States = append(q.States, store.State(state))
	}
	if f.State == nil {
		q.States = []store.State{store.Failed}
	}
	q.Holding, q.HoldingToo = holding(f.CustomerMessageID, f.Destination)
	return store.BulkReplay{ID: store.NewID("rpl_"), AccountID: account, Query: q, Asked: asked, StartedAt: now}, nil
}

func (s *server) ListReplays(ctx context.Context, _ gen.ListReplaysRequestObject) (gen.ListReplaysResponseObject, error) {
	found, err := s.Store.BulkReplays(ctx, accountOf(ctx), mostReplays)
	if err != nil {
		return nil, err
	}
	out := gen.ListReplays200JSONResponse{Replays: make([]gen.Replay, 0, len(found))}
	for i := range found {
		shown, err := showReplay(&found[i], s.Now())
		if err != nil {
			return nil, err
		}
		out.Replays = append(out.Replays, shown)
	}
	return out, nil
}

func (s *server) GetReplay(ctx context.Context, r gen.GetReplayRequestObject) (gen.GetReplayResponseObject, error) {
	shown, err := s.showReplay(ctx, accountOf(ctx), r.ReplayID)
	return gen.GetReplay200JSONResponse(shown), err
}

func (s *server) StopReplay(ctx context.Context, r gen.StopReplayRequestObject) (gen.StopReplayResponseObject, error) {
	note(ctx, "replay", r.ReplayID)
	before, err := s.Store.BulkReplay(ctx, accountOf(ctx), r.ReplayID)
	if err == nil && !before.EndedAt.IsZero() {
		unchanged(ctx)
	}
	if err := s.Store.StopReplay(ctx, accountOf(ctx), r.ReplayID, s.Now()); err != nil {
		return nil, when(err, store.ErrNotFound, errNoReplay)
	}
	shown, err := s.showReplay(ctx, accountOf(ctx), r.ReplayID)
	return gen.StopReplay200JSONResponse(shown), err
}

// showReplay shows one as it stands now.
func (s *server) showReplay(ctx context.Context, account, id string) (gen.Replay, error) {
	r, err := s.Store.BulkReplay(ctx, account, id)
	if err != nil {
		return gen.Replay{}, when(err, store.ErrNotFound, errNoReplay)
	}
	return showReplay(&r, s.Now())
}

func showReplay(r *store.BulkReplay, now time.Time) (gen.Replay, error) {
	out := gen.Replay{
		ID: r.ID, State: gen.ReplayState(r.State), StartedAt: showTime(r.StartedAt), EndedAt: showOptionalTime(r.EndedAt),
		Matched: r.Matched, SentAgain: r.SentAgain(), Remaining: r.Remaining(),
		LeftOut: gen.ReplayLeftOut{Damaged: r.Damaged, Changed: r.Changed()},
		Rate:    perSecond(r.SentAgain(), r.StartedAt, r.EndedAt, now),
	}
	return out, json.Unmarshal(r.Asked, &out.Filters)
}

// perSecond is how many a second there were, until now if it has not ended.
func perSecond(n int64, started, ended, now time.Time) float64 {
	if !ended.IsZero() {
		now = ended
	}
	if took := now.Sub(started).Seconds(); took > 0 {
		return float64(n) / took
	}
	return 0
}
