package command

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen/client"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.Local)

// Whatever a delivery waits for is said in words, with what to do.
func TestWaitsAreSaidInWords(t *testing.T) {
	soon, earlier := noon.Add(250*time.Second), "evt_0"
	for waits, want := range map[client.WaitingFor][2]string{
		client.WaitingForINFLIGHT:     {"in flight 4 m", "the answer to the attempt under way"},
		client.WaitingForQUEUE:        {"queue 4 m", "its turn"},
		client.WaitingForRETRY:        {"retry 4 m", "its next attempt, at 2026-11-20 12:04:10 (in 4 m)"},
		client.WaitingForEARLIEREVENT: {"earlier event 4 m", "an earlier event of the same message: evt_0"},
		client.WaitingForPROBE:        {"probe 4 m", "a probe that is acknowledged, as the last 10 attempts failed, at 2026-11-20 12:04:10 (in 4 m)"},
		client.WaitingForSUSPENDED:    {"suspended 4 m", "the URL to be set again, as the endpoint answered 410: recapito webhook set https://…"},
		"SOMETHING_NEW":               {"something new 4 m", "SOMETHING_NEW, at 2026-11-20 12:04:10 (in 4 m)"},
	} {
		short := why(&client.Delivery{WaitingFor: &waits, NextAttemptAt: &soon}, noon)
		long := waitsInWords(&client.DeliveryDetail{WaitingFor: &waits, NextAttemptAt: &soon, WaitingForEventID: &earlier}, noon)
		if diff := cmp.Diff(want, [2]string{short, long}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", waits, diff)
		}
	}
}

func TestTheListSaysWhy(t *testing.T) {
	waits, soon, status := client.WaitingForRETRY, noon.Add(30*time.Second), int32(503)
	refused, timeout := client.AttemptErrorHTTPSTATUS, client.AttemptErrorTIMEOUT
	for want, d := range map[string]client.Delivery{
		"":                {LastStatusCode: &status}, // acknowledged
		"503":             {LastError: &refused, LastStatusCode: &status},
		"TIMEOUT":         {LastError: &timeout},
		"retry 30 s, 503": {LastError: &refused, LastStatusCode: &status, WaitingFor: &waits, NextAttemptAt: &soon},
	} {
		if got := why(&d, noon); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A delivery that waits tells each failed attempt, and nothing that a terminal obeys.
func TestADeliveryIsShownWhole(t *testing.T) {
	waits, soon := client.WaitingForRETRY, noon.Add(30*time.Second)
	failed, notTLS, refused := client.AttemptErrorTLSFAILED, client.AttemptDetailNOTTLS, client.AttemptErrorHTTPSTATUS
	status, answer, location := int32(302), "a\x1b[2J\n b", "https://example.com/new"
	address, header, kept, dns, wait := "203.0.113.7:443", "HTTP/1.1 302 Found\nServer: x", true, int64(2), int64(18)
	d := client.DeliveryDetail{
		EventID: "evt_1", MessageID: "m-1", State: client.DeliveryStatePENDING, AcceptedAt: noon, AttemptCount: 2,
		WaitingFor: &waits, NextAttemptAt: &soon,
		Attempts: []client.Attempt{
			{Number: 1, At: noon, DurationMs: 12, Error: &failed, Detail: &notTLS, Address: &address, Phases: &client.AttemptPhases{DNSMs: &dns}},
			{Number: 2, At: noon.Add(5 * time.Second), DurationMs: 2345, Error: &refused, StatusCode: &status, Location: &location, Response: &answer, Probe: true,
				Address: &address, ResponseHeader: &header, Reused: &kept, Phases: &client.AttemptPhases{FirstByteMs: &wait}},
		},
	}
	var out bytes.Buffer
	if err := deliveryDetail(&out, &d, []byte(`{"payload": {"eventId": "evt_1"}}`), noon); err != nil {
		t.Fatal(err)
	}
	want := `event      evt_1
message    m-1
state      PENDING
accepted   2026-11-20 12:00:00
waits for  its next attempt, at 2026-11-20 12:00:30 (in 30 s)
payload    {"eventId":"evt_1"}
attempts   2
  #1  2026-11-20 12:00:00    12 ms  TLS_FAILED: NOT_TLS
      to: 203.0.113.7:443, DNS 2 ms
  #2  2026-11-20 12:00:05    2.3 s  302 HTTP_STATUS (probe)
      to: 203.0.113.7:443, kept connection, first byte 18 ms
      header: HTTP/1.1 302 Found Server: x
      location: https://example.com/new
      answer: a�[2J b
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAccountsInATable(t *testing.T) {
	probing, since, status := client.EndpointStatePROBING, noon.Add(-5*time.Minute), int32(503)
	var out bytes.Buffer
	if err := accountTable(&out, []client.AccountHealth{
		{ID: "acc_1", State: &probing, Since: &since, Pending: 1204, OldestPendingAt: &since, ConsecutiveFailures: 14, LastFailure: &client.LastFailure{Error: client.AttemptErrorHTTPSTATUS, StatusCode: &status}},
		{ID: "acc_2"},
	}, noon); err != nil {
		t.Fatal(err)
	}
	want := `ACCOUNT  STATE       FOR  PENDING  WAITS  FAILED  LAST FAILURE
acc_1    PROBING     5 m  1204     5 m    14      503 HTTP_STATUS
acc_2    no webhook  -    0        -      0       -
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDaysAreShownWhereTheyDiffer(t *testing.T) {
	for clock, at := range map[string]time.Time{"11:59:00": noon.Add(-time.Minute), "11-19 12:00": noon.AddDate(0, 0, -1)} {
		var out bytes.Buffer
		if err := deliveryTable(&out, []client.Delivery{{AcceptedAt: at, EventID: "evt_1", State: client.DeliveryStateFAILED, MessageID: "m-1"}}, noon); err != nil {
			t.Fatal(err)
		}
		if _, row, _ := strings.Cut(out.String(), "\n"); !strings.HasPrefix(row, clock+"  evt_1  FAILED  0  m-1") && !strings.HasPrefix(row, clock+"     evt_1") {
			t.Errorf("got %q, want it to begin with %s", row, clock)
		}
	}
}

func TestMoments(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-20T10:30:00Z":      "2026-11-20T10:30:00Z",
		"2026-11-20T10:30:00+02:00": "2026-11-20T08:30:00Z",
		"2026-11-20":                time.Date(2026, 11, 20, 0, 0, 0, 0, time.Local).UTC().Format(time.RFC3339),
	} {
		var m moment
		if err := m.UnmarshalText([]byte(text)); err != nil || m.at.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: got %v, %v, want %s", text, m.at, err, want)
		}
	}
	var ago, none, bad moment
	if err := ago.UnmarshalText([]byte("90m")); err != nil || time.Since(*ago.at) < 90*time.Minute {
		t.Errorf("90m: got %v, %v, want the time 90 minutes ago", ago.at, err)
	}
	if err := none.UnmarshalText(nil); err != nil || none.at != nil {
		t.Errorf("nothing: got %v, %v, want none", none.at, err)
	}
	if got := fmt.Sprint(bad.UnmarshalText([]byte("yesterday"))); !strings.HasPrefix(got, "must be a time such as 2026-11-20T10:30:00Z") {
		t.Errorf("yesterday: got %s", got)
	}
}
