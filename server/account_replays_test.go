package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

func TestReplayOfSeveralAccounts(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	_, bare := s.account()
	s.accept(t, event("evt_1", id))
	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{State: store.Failed}, epoch)
	s.setNow(epoch.Add(time.Second))
	begin := func(body string) answer {
		return s.do(call{method: "POST", path: "/replays", platform: true, body: body})
	}
	begun := begin(`{"filters":{"error":null}}`).want(t, http.StatusAccepted)
	got := decode[gen.AccountReplay](t, begun)
	path := "/replays/" + got.ID
	if location := begun.header.Get("Location"); location != path {
		t.Errorf("Location: got %q, want %q", location, path)
	}
	want := gen.AccountReplay{ID: got.ID, State: gen.AccountReplayStateRUNNING, StartedAt: shown(epoch.Add(time.Second))}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("begun (-want +got):\n%s", diff)
	}
	begin(`{"filters":{}}`).wantProblem(t, http.StatusConflict, gen.ProblemCodeREPLAYRUNNING)
	begin(`{}`).wantPointers(t, "/filters")
	if _, _, err := s.store.ContinueReplayGroup(t.Context(), *s.now.Load(), 100); err != nil {
		t.Fatal(err)
	}
	own := decode[gen.ReplayList](t, s.do(call{method: "GET", path: webhookPath + "/replays", apiKey: key}).want(t, http.StatusOK))
	if len(own.Replays) != 1 {
		t.Fatalf("the account's own list: got %+v, want one", own)
	}
	s.step(t, id)
	s.step(t, id)
	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: epoch, StatusCode: 204}}, epoch)
	s.step(t, id)
	s.setNow(epoch.Add(5 * time.Second))
	want.Accounts = gen.AccountReplayCount{Begun: 1, Skipped: 1} // one has no webhook
	want.Matched, want.SentAgain, want.Rate = 1, 1, 0.25
	if diff := cmp.Diff(want, decode[gen.AccountReplay](t, s.do(call{method: "GET", path: path, platform: true}).want(t, http.StatusOK))); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}
	want.State, want.EndedAt = gen.AccountReplayStateSTOPPED, new(shown(epoch.Add(5*time.Second)))
	if diff := cmp.Diff(want, decode[gen.AccountReplay](t, s.do(call{method: "DELETE", path: path, platform: true}).want(t, http.StatusOK))); diff != "" {
		t.Errorf("stopped (-want +got):\n%s", diff)
	}
	some := decode[gen.AccountReplay](t, begin(`{"accountIds":["b","a","b"],"filters":{"state":["CANCELLED"]}}`).want(t, http.StatusAccepted))
	if !cmp.Equal(some.AccountIds, &[]string{"a", "b"}) {
		t.Errorf("accounts: got %v, want a and b", some.AccountIds)
	}
	list := decode[gen.AccountReplayList](t, s.do(call{method: "GET", path: "/replays", platform: true}).want(t, http.StatusOK))
	if len(list.Replays) != 2 || list.Replays[0].ID != some.ID {
		t.Errorf("the list: got %+v, want %s and the first", list, some.ID)
	}
	for _, method := range []string{"GET", "DELETE"} {
		s.do(call{method: method, path: "/replays/rpg_none", platform: true}).wantProblem(t, http.StatusNotFound, gen.ProblemCodeREPLAYNOTFOUND)
		s.do(call{method: method, path: path, apiKey: bare}).want(t, http.StatusUnauthorized)
	}
}
