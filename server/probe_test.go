package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

const probePath = webhookPath + "/probe"

func TestProbeOfEachState(t *testing.T) {
	s, e := startTester(t)
	for _, state := range matrixStates {
		for probing, open := range map[store.Probing]int{
			store.ProbeBegins: http.StatusAccepted, store.ProbeUnderWay: http.StatusTooManyRequests, store.NotOpen: http.StatusConflict,
		} {
			e.probing = probing
			id, key := s.account()
			s.enter(t, id, state)
			want, code := open, ""
			switch state {
			case "active":
				code = map[store.Probing]string{store.ProbeUnderWay: "RATE_LIMITED", store.NotOpen: "NOT_PROBING"}[probing]
			case "suspended":
				want, code = http.StatusConflict, "WEBHOOK_SUSPENDED"
			default:
				want, code = http.StatusNotFound, "WEBHOOK_NOT_FOUND"
			}
			got := s.do(call{method: "POST", path: probePath, apiKey: key}).want(t, want)
			if !strings.Contains(got.body, code) {
				t.Errorf("%s, %d: got %s, want the code %s", state, probing, got.body, code)
			}
			if after := got.header.Get("Retry-After"); (after == "1") != (want == http.StatusTooManyRequests) {
				t.Errorf("%s, %d: Retry-After %q with %d", state, probing, after, want)
			}
		}
	}
}

func TestProbeNamesTheOldestPending(t *testing.T) {
	s, e := startTester(t)
	e.probing = store.ProbeBegins
	id, key := s.subscriber()
	probe := func() *string {
		t.Helper()
		return decode[gen.Probe](t, s.do(call{method: "POST", path: probePath, apiKey: key}).want(t, http.StatusAccepted)).EventID
	}
	if got := probe(); got != nil {
		t.Errorf("with nothing PENDING: got %s, want null", *got)
	}
	s.accept(t, event("evt_1", id), event("evt_2", id), event("evt_3", id))
	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: epoch, StatusCode: 204}}, epoch)
	if got := probe(); got == nil || *got != "evt_2" {
		t.Errorf("got %v, want evt_2, the oldest that is PENDING", got)
	}
}

func TestProbesAreFew(t *testing.T) {
	s, e := startTester(t)
	e.probing = store.ProbeBegins
	_, key := s.subscriber()
	_, other := s.subscriber()
	ask := func(key string) answer { return s.do(call{method: "POST", path: probePath, apiKey: key}) }
	for range 10 {
		ask(key).want(t, http.StatusAccepted)
	}
	if got := ask(key).want(t, http.StatusTooManyRequests).header.Get("Retry-After"); got != "6" {
		t.Errorf("Retry-After: got %q, want 6", got)
	}
	ask(other).want(t, http.StatusAccepted)
	s.setNow(epoch.Add(6 * time.Second))
	ask(key).want(t, http.StatusAccepted)
}
