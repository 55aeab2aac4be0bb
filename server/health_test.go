package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

const healthPath = webhookPath + "/health"

func (s *service) health(t *testing.T, key string) gen.Health {
	t.Helper()
	return decode[gen.Health](t, s.do(call{method: "GET", path: healthPath, apiKey: key}).want(t, http.StatusOK))
}

// change records a change of the state of an account's endpoint.
func (s *service) change(t *testing.T, account string, to store.HealthState, at time.Time) {
	t.Helper()
	w, err := s.store.Webhook(t.Context(), account)
	if err == nil {
		err = s.store.RecordHealth(t.Context(), []store.HealthChange{{AccountID: account, WebhookID: w.ID, Version: w.Version, To: to, At: at, Error: store.HTTPStatus, StatusCode: 503}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestHealthTellsWhatIsKnown(t *testing.T) {
	s, e := startTester(t)
	id, key := s.subscriber()
	s.accept(t, event("evt_1", id), event("evt_2", id, `messageId:"m-2"`))
	now := epoch.Add(10 * time.Minute)
	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: epoch, Duration: 100 * time.Millisecond, StatusCode: 204}}, epoch)
	s.record(t, s.stored(t, id, "evt_2"), store.Outcome{State: store.Pending, Failures: 1, DueAt: now.Add(time.Minute), Attempt: &store.Attempt{
		Number: 1, At: now, Duration: 50 * time.Millisecond, StatusCode: 503, Error: store.HTTPStatus, Response: []byte("down"), Address: "203.0.113.7:443",
	}}, now)
	s.setNow(now)
	e.pace = &store.Pace{
		Health:      store.Health{State: store.HealthProbing, Since: now.Add(-time.Minute)},
		Concurrency: 3, NextAttempt: now.Add(time.Second), Horizon: 72 * time.Hour,
	}
	got := s.health(t, key)
	at := func(when time.Time) string { return when.UTC().Format("2006-01-02T15:04:05.000Z") }
	counts := map[string]any{
		"acknowledged": 1.0, "failed": 1.0, "errors": []any{map[string]any{"error": "HTTP_STATUS", "attempts": 1.0}}, "acknowledgedShare": 0.5,
	}
	want := map[string]any{
		"state": "PROBING", "since": at(now.Add(-time.Minute)), "consecutiveFailures": 1.0, "nextAttemptAt": at(now.Add(time.Second)),
		"summary":     "The last attempt failed, the last with status 503, so only probes are made until one is acknowledged; 1 event waits, the first until 2026-11-23T09:00:00.123Z",
		"lastSuccess": map[string]any{"at": at(epoch), "statusCode": 204.0},
		"lastFailure": map[string]any{"at": at(now), "error": "HTTP_STATUS", "statusCode": 503.0, "response": "down", "address": "203.0.113.7:443"},
		"pending":     1.0, "oldestPendingAt": at(epoch), "firstGivenUpAt": at(epoch.Add(72 * time.Hour)), "concurrency": 3.0,
		"secrets": []any{map[string]any{"until": nil}}, "skipped": 0.0, "lastHour": counts, "lastDay": counts, "lastWeek": counts,
	}
	shown := members(t, got)
	for _, window := range []string{"lastHour", "lastDay", "lastWeek"} {
		delete(shown[window].(map[string]any), "answerTimeMs")
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("health (-want +got):\n%s", diff)
	}
	if p := got.LastHour.AnswerTimeMs; p.P50 == nil || *p.P50 < 44 || *p.P50 > 57 || *p.P99 < 88 || *p.P99 > 113 {
		t.Errorf("answer times %v, %v; want 50 and 100 to an eighth", *p.P50, *p.P99)
	}
}

func TestHealthOfEachState(t *testing.T) {
	for _, tt := range []struct {
		name    string
		state   store.HealthState
		tried   time.Duration // ago; zero: never
		pending bool
		want    gen.EndpointState
		summary string
	}{
		{"new", store.HealthHealthy, 0, false, gen.EndpointStateIDLE, "Nothing has been attempted yet"},
		{"at work", store.HealthHealthy, time.Minute, false, gen.EndpointStateHEALTHY, "Your endpoint is well: it acknowledged 1 of the last hour's 1 attempt"},
		{"quiet", store.HealthHealthy, 2 * time.Hour, false, gen.EndpointStateHEALTHY, "Your endpoint is well"},
		{"idle", store.HealthHealthy, 25 * time.Hour, false, gen.EndpointStateIDLE, "Nothing has been attempted for a day, and nothing waits"},
		{"failed long ago", store.HealthFailing, 25 * time.Hour, false, gen.EndpointStateIDLE, "Nothing has been attempted for a day, and nothing waits"},
		{"waiting since long ago", store.HealthFailing, 25 * time.Hour, true, gen.EndpointStateFAILING, "Your endpoint fails, and it is still attempted; 1 event waits"},
		{"slow", store.HealthSlowed, time.Minute, true, gen.EndpointStateSLOWED,
			"Your endpoint is slow to answer or asked for less, and gets 1 attempt at a time: it acknowledged 1 of the last hour's 1 attempt; 1 event waits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := startTester(t)
			id, key := s.subscriber()
			now := epoch.Add(48 * time.Hour)
			if at := now.Add(-tt.tried); tt.tried > 0 {
				s.setNow(at)
				s.accept(t, event("evt_1", id))
				s.record(t, s.stored(t, id, "evt_1"), store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: at, StatusCode: 200}}, at)
			}
			if tt.state != store.HealthHealthy {
				s.change(t, id, tt.state, epoch)
			}
			s.setNow(now)
			if tt.pending {
				s.accept(t, event("evt_2", id))
			}
			if got := s.health(t, key); got.State != tt.want || got.Summary != tt.summary {
				t.Errorf("got %s, %q; want %s, %q", got.State, got.Summary, tt.want, tt.summary)
			}
		})
	}
	t.Run("suspended", func(t *testing.T) {
		s, _ := startTester(t)
		id, key := s.account()
		s.enter(t, id, "suspended")
		if got := s.health(t, key); got.State != gen.EndpointStateSUSPENDED || got.NextAttemptAt != nil {
			t.Errorf("got %+v, want SUSPENDED and no next attempt", got)
		}
	})
	t.Run("without a webhook", func(t *testing.T) {
		s, _ := startTester(t)
		_, key := s.account()
		for _, path := range []string{healthPath, healthPath + "/changes"} {
			s.do(call{method: "GET", path: path, apiKey: key}).want(t, http.StatusNotFound)
		}
	})
}

func TestHealthIsToldByTheMinute(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	s.accept(t, event("evt_1", id), event("evt_2", id, `messageId:"m-2"`), event("evt_3", id, `messageId:"m-3"`))
	third, fifth := epoch.Truncate(time.Minute).Add(2*time.Minute), epoch.Truncate(time.Minute).Add(4*time.Minute)
	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: third, Duration: 100 * time.Millisecond, StatusCode: 204}}, third)
	s.record(t, s.stored(t, id, "evt_2"), store.Outcome{State: store.Pending, Failures: 1, DueAt: fifth.Add(time.Hour), Attempt: &store.Attempt{Number: 1, At: fifth, Error: store.Timeout}}, fifth)
	s.setNow(fifth.Add(time.Second))
	at := func(when time.Time) string { return when.UTC().Format("2006-01-02T15:04:05.000Z") }
	list := func(query string) map[string]any {
		t.Helper()
		list := members(t, decode[gen.HealthMinutes](t, s.do(call{method: "GET", path: healthPath + "/minutes" + query, apiKey: key}).want(t, http.StatusOK)))
		for _, m := range list["minutes"].([]any) {
			if times := m.(map[string]any)["answerTimeMs"].(map[string]any); times["p95"] != nil {
				times["p50"], times["p95"], times["p99"] = 1.0, 1.0, 1.0 // to an eighth, as in the health
			}
		}
		return list
	}
	minute := func(at string, acknowledged, failed, pending float64) map[string]any {
		return map[string]any{"at": at, "acknowledged": acknowledged, "failed": failed, "pending": pending, "errors": []any{}, "answerTimeMs": map[string]any{"p50": nil, "p95": nil, "p99": nil}}
	}
	first, second, last := minute(at(epoch.Truncate(time.Minute)), 0, 0, 3), minute(at(third), 1, 0, 2), minute(at(fifth), 0, 1, 2)
	second["answerTimeMs"] = map[string]any{"p50": 1.0, "p95": 1.0, "p99": 1.0}
	last["errors"] = []any{map[string]any{"error": "TIMEOUT", "attempts": 1.0}}
	for query, want := range map[string]map[string]any{
		"": {"from": at(fifth.Add(-24*time.Hour + time.Minute)), "to": at(fifth.Add(time.Minute)), "pending": 0.0, "minutes": []any{first, second, last}},
		"?from=" + at(third.Add(time.Second)) + "&to=" + at(fifth): {"from": at(third), "to": at(fifth), "pending": 3.0, "minutes": []any{second}},
		"?from=1970-01-01T00:00:00Z&to=" + at(third):               {"from": at(fifth.Add(-24*time.Hour + time.Minute)), "to": at(third), "pending": 0.0, "minutes": []any{first}},
		"?from=2261-12-31T23:59:59Z":                               {"from": at(fifth.Add(time.Minute)), "to": at(fifth.Add(time.Minute)), "pending": 2.0, "minutes": []any{}},
		"?from=" + at(fifth) + "&to=1970-01-01T00:00:00Z":          {"from": at(fifth), "to": at(fifth), "pending": 2.0, "minutes": []any{}},
	} {
		if diff := cmp.Diff(want, list(query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	_, bare := s.account()
	s.do(call{method: "GET", path: healthPath + "/minutes", apiKey: bare}).want(t, http.StatusNotFound)
	s.do(call{method: "GET", path: healthPath + "/minutes?from=today", apiKey: key}).want(t, http.StatusBadRequest)
}

func TestHealthChangesAreListed(t *testing.T) {
	s, _ := startTester(t)
	id, key := s.subscriber()
	other, stranger := s.subscriber()
	s.change(t, other, store.HealthFailing, epoch)
	var want []string
	for i := range 120 {
		s.change(t, id, []store.HealthState{store.HealthFailing, store.HealthHealthy}[i%2], epoch.Add(time.Duration(i)*time.Minute))
		want = append(want, fmt.Sprint(i))
	}
	slices.Reverse(want)
	var got []string
	for cursor := ""; ; {
		list := decode[gen.HealthChangeList](t, s.do(call{method: "GET", path: healthPath + "/changes?limit=50" + cursor, apiKey: key}).want(t, http.StatusOK))
		for _, c := range list.Changes {
			got = append(got, fmt.Sprint(int(time.Time(c.At).Sub(epoch).Round(time.Second)/time.Minute)))
			if c.Error == nil || *c.Error != gen.AttemptErrorHTTPSTATUS || c.StatusCode == nil || *c.StatusCode != 503 || c.From == c.To {
				t.Fatalf("change %+v, want one from another state, with HTTP_STATUS 503", c)
			}
		}
		if list.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *list.NextCursor
		s.do(call{method: "GET", path: healthPath + "/changes?limit=50" + cursor, apiKey: stranger}).want(t, http.StatusBadRequest)
		s.do(call{method: "GET", path: webhookPath + "/attempts?limit=50" + cursor, apiKey: key}).want(t, http.StatusBadRequest)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes, newest first (-want +got):\n%s", diff)
	}
	for _, query := range []string{"limit=0", "limit=101", "cursor=AAAA", "state=FAILING"} {
		s.do(call{method: "GET", path: healthPath + "/changes?" + query, apiKey: key}).want(t, http.StatusBadRequest)
	}
}
