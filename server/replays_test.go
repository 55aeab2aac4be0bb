package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// replay asks for one delivery to be sent again.
func (s *service) replay(key, eventID string) answer {
	return s.do(call{method: "POST", path: webhookPath + "/deliveries/" + eventID + "/replay", apiKey: key})
}

func (a answer) wantProblem(t *testing.T, status int, code gen.ProblemCode) {
	t.Helper()
	if p := decode[gen.Problem](t, a.want(t, status)); p.Code != code {
		t.Errorf("code: got %s, want %s", p.Code, code)
	}
}

func TestReplayDelivery(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	_, other := s.subscriber()
	s.accept(t, event("evt_1", id))
	s.replay(key, "evt_1").wantProblem(t, http.StatusConflict, gen.ProblemCodeDELIVERYPENDING)
	s.replay(key, "evt_2").wantProblem(t, http.StatusNotFound, gen.ProblemCodeDELIVERYNOTFOUND)
	s.replay(other, "evt_1").wantProblem(t, http.StatusNotFound, gen.ProblemCodeDELIVERYNOTFOUND)

	now := time.Now()
	failed := &store.Attempt{Number: 1, At: now, Duration: time.Second, Error: store.Timeout}
	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{State: store.Failed, Failures: 1, Attempt: failed}, now)
	got := decode[gen.Delivery](t, s.replay(key, "evt_1").want(t, http.StatusAccepted))
	d := s.stored(t, id, "evt_1")
	want := gen.Delivery{
		EventID: "evt_1", MessageID: d.MessageID, State: gen.DeliveryStatePENDING, AttemptCount: 1, AcceptedAt: shown(d.AcceptedAt),
		ReplayedAt: new(shown(d.Replay.At)), WaitingFor: new(gen.WaitingForQUEUE), LastError: new(gen.AttemptErrorTIMEOUT),
	}
	if diff := cmp.Diff(want, got); diff != "" || d.State != store.Pending {
		t.Errorf("the answer, of a %s delivery (-want +got):\n%s", d.State, diff)
	}
	s.replay(key, "evt_1").wantProblem(t, http.StatusConflict, gen.ProblemCodeDELIVERYPENDING)

	s.do(call{method: "DELETE", path: webhookPath, apiKey: key}).want(t, http.StatusNoContent)
	s.replay(key, "evt_1").wantProblem(t, http.StatusConflict, gen.ProblemCodeWEBHOOKMISSING)
}

func TestReplayOfADamagedPayload(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Store = down{store.ErrDamaged} })
	s.replay("any", "evt_1").wantProblem(t, http.StatusConflict, gen.ProblemCodePAYLOADDAMAGED)
}
