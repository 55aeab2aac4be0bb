package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

func (s *service) listAttempts(t *testing.T, key, query string) (list gen.AttemptList, ids []string) {
	t.Helper()
	list = decode[gen.AttemptList](t, s.do(call{method: "GET", path: webhookPath + "/attempts?" + query, apiKey: key}).want(t, http.StatusOK))
	ids = []string{}
	for _, a := range list.Attempts {
		ids = append(ids, fmt.Sprintf("%s#%d", a.EventID, a.Number))
	}
	return list, ids
}

func TestListAttempts(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	_, stranger := s.subscriber()
	s.accept(t, event("evt_1", id, `messageId:"m-1"`), event("evt_2", id, `messageId:"m-2"`))
	minute := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }
	failed := store.Attempt{Number: 1, At: minute(1), Duration: time.Second, Error: store.Timeout, Detail: "NO_ANSWER", Probe: true}
	refused := store.Attempt{Number: 2, At: minute(3), StatusCode: 302, Error: store.HTTPStatus, Response: []byte("no"), Location: "https://example.com/"}
	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{State: store.Pending, Failures: 1, DueAt: minute(3), Attempt: &failed}, minute(1))
	s.record(t, s.stored(t, id, "evt_2"), store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: minute(2), StatusCode: 204}}, minute(2))
	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{State: store.Failed, Failures: 2, Attempt: &refused}, minute(3))
	at := func(n int) string { return url.QueryEscape(minute(n).Format(time.RFC3339Nano)) }
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"", []string{"evt_1#2", "evt_2#1", "evt_1#1"}},
		{"limit=2", []string{"evt_1#2", "evt_2#1"}},
		{"from=" + at(2), []string{"evt_1#2", "evt_2#1"}},
		{"to=" + at(2), []string{"evt_1#1"}},
		{"outcome=FAILED", []string{"evt_1#2", "evt_1#1"}},
		{"outcome=ACKNOWLEDGED", []string{"evt_2#1"}},
		{"statusClass=2XX", []string{"evt_2#1"}},
		{"statusClass=3XX", []string{"evt_1#2"}},
		{"statusClass=9XX", []string{}},
		{"statusClass=NONE", []string{"evt_1#1"}},
		{"messageId=m-1", []string{"evt_1#2", "evt_1#1"}},
		{"messageId=m-1&outcome=FAILED&statusClass=3XX&from=" + at(1) + "&to=" + at(4), []string{"evt_1#2"}},
		{"messageId=m-2&outcome=FAILED", []string{}},
	} {
		t.Run(tt.query, func(t *testing.T) {
			if _, got := s.listAttempts(t, key, tt.query); !cmp.Equal(tt.want, got) {
				t.Errorf("attempts: got %v, want %v", got, tt.want)
			}
		})
	}
	if _, got := s.listAttempts(t, stranger, ""); len(got) > 0 {
		t.Errorf("another account's attempts: got %v, want none", got)
	}
	for _, query := range []string{"outcome=failed", "statusClass=5xx", "statusClass=500", "limit=101", "state=FAILED", "from=yesterday", "cursor=AAAA"} {
		s.do(call{method: "GET", path: webhookPath + "/attempts?" + query, apiKey: key}).want(t, http.StatusBadRequest)
	}

	// Each is shown as in its delivery.
	all, _ := s.listAttempts(t, key, "messageId=m-1")
	one := decode[gen.DeliveryDetail](t, s.do(call{method: "GET", path: webhookPath + "/deliveries/evt_1", apiKey: key}).want(t, http.StatusOK))
	for i, a := range one.Attempts {
		want, got := members(t, a), members(t, all.Attempts[1-i])
		want["eventId"], want["messageId"] = "evt_1", "m-1"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("attempt %d (-of the delivery +listed):\n%s", a.Number, diff)
		}
	}
}

// members are those of its JSON.
func members(t *testing.T, v any) (all map[string]any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestPagesOfAttempts(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	_, stranger := s.subscriber()
	var want []string
	for i := range 120 {
		name := fmt.Sprintf("evt_%d", i)
		s.accept(t, event(name, id))
		s.record(t, s.stored(t, id, name), store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: epoch.Add(time.Duration(i) * time.Second), StatusCode: 204}}, epoch)
		want = append([]string{name + "#1"}, want...)
	}
	var got []string
	cursor := ""
	for {
		list, ids := s.listAttempts(t, key, "limit=50"+cursor)
		got = append(got, ids...)
		if list.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *list.NextCursor
		if len(got) > len(want) {
			t.Fatalf("got more than %d attempts", len(want))
		}
		for path, key := range map[string]string{"/attempts": stranger, "/deliveries": key} {
			s.do(call{method: "GET", path: webhookPath + path + "?limit=50" + cursor, apiKey: key}).want(t, http.StatusBadRequest)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	lines := s.do(call{method: "GET", path: webhookPath + "/attempts", apiKey: key, header: map[string]string{"Accept": linesType}}).want(t, http.StatusOK)
	if n := strings.Count(lines.body, "\n"); n != len(want) || lines.header.Get("Content-Type") != linesType {
		t.Errorf("lines: got %d of %s, want %d of %s", n, lines.header.Get("Content-Type"), len(want), linesType)
	}
}
