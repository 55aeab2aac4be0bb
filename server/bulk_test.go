package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

func (s *service) startReplay(t *testing.T, key, filters string) answer {
	t.Helper()
	return s.do(call{method: "POST", path: webhookPath + "/replays", apiKey: key, body: filters})
}

// step takes the account's bulk replay one step further.
func (s *service) step(t *testing.T, account string) {
	t.Helper()
	if _, err := s.store.ContinueReplay(t.Context(), account, *s.now.Load(), 100); err != nil {
		t.Fatal(err)
	}
}

func TestBulkReplay(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	_, other := s.subscriber()
	s.accept(t, event("evt_1", id, `messageId:"m-1"`), event("evt_2", id, `messageId:"m-2"`), event("evt_3", id, `messageId:"m-2"`))
	for _, e := range []string{"evt_1", "evt_2"} {
		s.record(t, s.stored(t, id, e), store.Outcome{State: store.Failed}, epoch)
	}
	s.setNow(epoch.Add(time.Second))
	filters := `{"messageId":"m-2","from":"2020-01-01T00:00:00.5Z"}`
	began := s.startReplay(t, key, filters).want(t, http.StatusAccepted)
	got := decode[gen.Replay](t, began)
	path := webhookPath + "/replays/" + got.ID
	if location := began.header.Get("Location"); location != path {
		t.Errorf("Location: got %q, want %q", location, path)
	}
	from := gen.Time(time.Date(2020, 1, 1, 0, 0, 0, 500_000_000, time.UTC))
	want := gen.Replay{ID: got.ID, State: gen.ReplayStateCOUNTING, StartedAt: shown(epoch.Add(time.Second)), Filters: gen.ReplayFilters{MessageID: new("m-2"), From: &from}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("begun (-want +got):\n%s", diff)
	}
	s.startReplay(t, key, "{}").wantProblem(t, http.StatusConflict, gen.ProblemCodeREPLAYRUNNING)
	s.startReplay(t, other, "{}").want(t, http.StatusAccepted)

	s.step(t, id)
	s.step(t, id)
	want.State, want.Matched, want.Remaining = gen.ReplayStateRUNNING, 1, 1
	read := func() gen.Replay {
		return decode[gen.Replay](t, s.do(call{method: "GET", path: path, apiKey: key}).want(t, http.StatusOK))
	}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}
	again := s.stored(t, id, "evt_2")
	s.record(t, again, store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: epoch, StatusCode: 204}}, epoch)
	s.setNow(epoch.Add(5 * time.Second))
	s.step(t, id)
	s.setNow(epoch.Add(time.Hour))
	want.State, want.SentAgain, want.Remaining, want.Rate, want.EndedAt = gen.ReplayStateDONE, 1, 0, 0.25, new(shown(epoch.Add(5*time.Second)))
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	stopped := decode[gen.Replay](t, s.do(call{method: "DELETE", path: path, apiKey: key}).want(t, http.StatusOK))
	if diff := cmp.Diff(want, stopped); diff != "" {
		t.Errorf("stopped when it had ended (-want +got):\n%s", diff)
	}
	for _, method := range []string{"GET", "DELETE"} {
		s.do(call{method: method, path: path, apiKey: other}).wantProblem(t, http.StatusNotFound, gen.ProblemCodeREPLAYNOTFOUND)
	}

	second := decode[gen.Replay](t, s.startReplay(t, key, `{"state":["DELIVERED","CANCELLED"]}`).want(t, http.StatusAccepted))
	list := decode[gen.ReplayList](t, s.do(call{method: "GET", path: webhookPath + "/replays", apiKey: key}).want(t, http.StatusOK))
	if len(list.Replays) != 2 || list.Replays[0].ID != second.ID || !cmp.Equal(list.Replays[1], want) {
		t.Errorf("the list: got %+v, want %s and the first", list.Replays, second.ID)
	}
	stopped = decode[gen.Replay](t, s.do(call{method: "DELETE", path: webhookPath + "/replays/" + second.ID, apiKey: key}).want(t, http.StatusOK))
	if stopped.State != gen.ReplayStateSTOPPED || stopped.EndedAt == nil {
		t.Errorf("stopped: got %+v, want it STOPPED", stopped)
	}
	s.do(call{method: "DELETE", path: webhookPath, apiKey: other}).want(t, http.StatusNoContent)
	s.startReplay(t, other, "{}").wantProblem(t, http.StatusConflict, gen.ProblemCodeWEBHOOKMISSING)
}

// Each filter of a bulk replay selects what that of the listing does.
func TestBulkReplayFiltersAsTheListing(t *testing.T) {
	for _, tt := range []struct{ filters, query string }{
		{`{}`, "state=FAILED"},
		{`{"state":["DELIVERED","FAILED","CANCELLED"]}`, "state=DELIVERED&state=FAILED&state=CANCELLED"},
		{`{"customerMessageId":"order \"1\""}`, `state=FAILED&customerMessageId=order+%221%22`},
		{`{"channel":"RCS"}`, "state=FAILED&channel=RCS"},
		{`{"error":"TIMEOUT"}`, "state=FAILED&error=TIMEOUT"},
		{`{"status":503}`, "state=FAILED&status=503"},
		{`{"from":"2026-11-20T10:00:02Z","to":"2026-11-20T10:00:05Z"}`, "state=FAILED&from=2026-11-20T10:00:02Z&to=2026-11-20T10:00:05Z"},
		{`{"finishedFrom":"2026-11-20T10:00:03Z","finishedTo":"2026-11-20T10:00:06Z"}`, "state=FAILED&finishedFrom=2026-11-20T10:00:03Z&finishedTo=2026-11-20T10:00:06Z"},
		{`{"failedSince":"2026-11-20T10:00:04Z"}`, "state=FAILED&failedSince=2026-11-20T10:00:04Z"},
	} {
		t.Run(tt.filters, func(t *testing.T) {
			s := start(t)
			id, key := s.subscriber()
			begin := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
			for i := range 8 {
				at := begin.Add(time.Duration(i) * time.Second)
				s.setNow(at)
				channel, customer := "SMS", fmt.Sprintf(`customerMessageId:"order \"%d\""`, i%2)
				if i%3 == 0 {
					channel = "RCS"
				}
				e := fmt.Sprint("evt_", i)
				s.accept(t, event(e, id, customer, `channel:"`+channel+`"`, fmt.Sprintf(`messageId:"m-%d"`, i)))
				a := &store.Attempt{Number: 1, At: at, Error: store.Timeout}
				if i%2 == 0 {
					a = &store.Attempt{Number: 1, At: at, Error: store.HTTPStatus, StatusCode: 503}
				}
				s.record(t, s.stored(t, id, e), store.Outcome{State: []store.State{store.Failed, store.Failed, store.Delivered}[i%3], Attempt: a}, at.Add(time.Second))
			}
			s.setNow(begin.Add(time.Hour))
			want := eventIDs(s.list(t, key, tt.query+"&order=asc"))
			s.startReplay(t, key, tt.filters).want(t, http.StatusAccepted)
			s.step(t, id)
			s.step(t, id)
			if got := eventIDs(s.list(t, key, "state=PENDING&order=asc")); strings.Join(got, " ") != strings.Join(want, " ") || len(want) == 0 || len(want) == 8 && tt.filters != `{"state":["DELIVERED","FAILED","CANCELLED"]}` {
				t.Errorf("replayed: got %v, want %v", got, want)
			}
		})
	}
}
