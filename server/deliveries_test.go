package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// stored is the delivery as the store has it.
func (s *service) stored(t *testing.T, account, eventID string) store.Delivery {
	t.Helper()
	d, _, err := s.store.Delivery(t.Context(), account, eventID)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// record writes an outcome of the delivery.
func (s *service) record(t *testing.T, d store.Delivery, o store.Outcome, at time.Time) {
	t.Helper()
	o.Delivery = &d
	if err := s.store.Record(t.Context(), []store.Outcome{o}, at); err != nil {
		t.Fatal(err)
	}
}

func (s *service) list(t *testing.T, key, query string) gen.DeliveryList {
	t.Helper()
	return decode[gen.DeliveryList](t, s.do(call{method: "GET", path: webhookPath + "/deliveries?" + query, apiKey: key}).want(t, http.StatusOK))
}

func eventIDs(l gen.DeliveryList) []string {
	ids := []string{}
	for _, d := range l.Deliveries {
		ids = append(ids, d.EventID)
	}
	return ids
}

func TestListDeliveries(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	other, _ := s.subscriber()
	for i := range 6 {
		s.setNow(epoch.Add(time.Duration(i) * time.Minute))
		s.accept(t, event(fmt.Sprintf("evt_%d", i), id, fmt.Sprintf(`messageId:"m-%d"`, i%2)), event(fmt.Sprintf("evt_%d", i), other))
	}
	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{State: store.Delivered, Attempt: &store.Attempt{Number: 1, At: epoch}}, epoch)
	s.record(t, s.stored(t, id, "evt_4"), store.Outcome{State: store.Failed}, epoch.Add(time.Hour))
	s.accept(t, event("evt_6", id, `messageId:"m-6"`, `customerMessageId:"order \"1\"/é<"`, `channel:"RCS"`, `destination:"+393401234599"`))
	s.record(t, s.stored(t, id, "evt_6"), store.Outcome{State: store.Pending, Failures: 1, DueAt: epoch.Add(time.Hour),
		Attempt: &store.Attempt{Number: 1, At: epoch.Add(6 * time.Minute), StatusCode: 503, Error: store.HTTPStatus}}, epoch)
	at := func(minutes int) string {
		return url.QueryEscape(epoch.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339Nano))
	}
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"", []string{"evt_6", "evt_5", "evt_4", "evt_3", "evt_2", "evt_1", "evt_0"}},
		{"limit=2", []string{"evt_6", "evt_5"}},
		{"order=asc", []string{"evt_0", "evt_1", "evt_2", "evt_3", "evt_4", "evt_5", "evt_6"}},
		{"order=asc&limit=2", []string{"evt_0", "evt_1"}},
		{"order=desc&limit=1", []string{"evt_6"}},
		{"state=PENDING", []string{"evt_6", "evt_5", "evt_3", "evt_2", "evt_0"}},
		{"state=FAILED&state=DELIVERED", []string{"evt_4", "evt_1"}},
		{"order=asc&state=FAILED&state=DELIVERED&state=FAILED", []string{"evt_1", "evt_4"}},
		{"customerMessageId=" + url.QueryEscape(`order "1"/é<`), []string{"evt_6"}},
		{"customerMessageId=order", []string{}},
		{"destination=%2B393401234599", []string{"evt_6"}},
		{"destination=%2B39340123459", []string{}},
		{"destination=%2B393401234599&customerMessageId=none", []string{}},
		{"channel=RCS", []string{"evt_6"}},
		{"channel=WHATSAPP", []string{}},
		{"error=HTTP_STATUS", []string{"evt_6"}},
		{"error=TIMEOUT", []string{}},
		{"status=503", []string{"evt_6"}},
		{"status=500", []string{}},
		{"failedSince=" + at(6), []string{"evt_6"}},
		{"failedSince=" + at(7), []string{}},
		{"finishedFrom=" + at(1), []string{"evt_4"}},
		{"finishedTo=" + at(1), []string{"evt_1"}},
		{"finishedFrom=" + at(0) + "&finishedTo=" + at(61) + "&state=FAILED&state=PENDING", []string{"evt_4"}},
		{"state=DELIVERED", []string{"evt_1"}},
		{"state=FAILED", []string{"evt_4"}},
		{"state=CANCELLED", []string{}},
		{"messageId=m-0", []string{"evt_4", "evt_2", "evt_0"}},
		{"messageId=m-0&state=PENDING", []string{"evt_2", "evt_0"}},
		{"messageId=none", []string{}},
		{"from=" + at(3), []string{"evt_6", "evt_5", "evt_4", "evt_3"}},
		{"to=" + at(3), []string{"evt_2", "evt_1", "evt_0"}},
		{"from=" + at(1) + "&to=" + at(3), []string{"evt_2", "evt_1"}},
		{"from=" + at(3) + "&to=" + at(1), []string{}},
	} {
		t.Run(tt.query, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, eventIDs(s.list(t, key, tt.query))); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// TestListedPayload: with payload=true a listing shows what getDelivery shows of each.
func TestListedPayload(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	s.accept(t, event("evt_1", id, `description:"<é>"`))
	want := decode[gen.DeliveryDetail](t, s.do(call{method: "GET", path: webhookPath + "/deliveries/evt_1", apiKey: key}).want(t, http.StatusOK)).Payload
	for query, want := range map[string]*json.RawMessage{"payload=true": want, "payload=false": nil, "": nil} {
		if got := s.list(t, key, query).Deliveries[0].Payload; !cmp.Equal(got, want) {
			t.Errorf("%q: got payload %s, want %s", query, got, want)
		}
	}
}

// listLines reads deliveries in lines, and the cursor of the last line.
func (s *service) listLines(t *testing.T, key, query string) (ids []string, next string) {
	t.Helper()
	got := s.do(call{method: "GET", path: webhookPath + "/deliveries?" + query, apiKey: key, header: map[string]string{"Accept": linesType}}).want(t, http.StatusOK)
	if media := got.header.Get("Content-Type"); media != linesType {
		t.Errorf("content type: got %s, want %s", media, linesType)
	}
	ids = []string{}
	for line := range strings.Lines(got.body) {
		var l struct{ EventID, NextCursor string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if next = l.NextCursor; next == "" {
			ids = append(ids, l.EventID)
		}
	}
	return ids, next
}

// TestLines: one delivery a line, more of them than a page has.
func TestLines(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	if ids, next := s.listLines(t, key, ""); len(ids) > 0 || next != "" {
		t.Errorf("no deliveries: got %v and cursor %q, want nothing", ids, next)
	}
	var events, want []string
	for i := range 250 {
		events = append(events, event(fmt.Sprintf("evt_%d", i), id))
		want = append(want, fmt.Sprintf("evt_%d", i))
	}
	s.accept(t, events...)
	ids, next := s.listLines(t, key, "order=asc")
	if diff := cmp.Diff(want, ids); diff != "" || next != "" {
		t.Errorf("all: cursor %q, want none; events (-want +got):\n%s", next, diff)
	}
	first, next := s.listLines(t, key, "order=asc&limit=100")
	rest, end := s.listLines(t, key, "order=asc&cursor="+next)
	if diff := cmp.Diff(want, append(first, rest...)); diff != "" || len(first) != 100 || end != "" {
		t.Errorf("in two: %d at first and cursor %q at the end, want 100 and none; events (-want +got):\n%s", len(first), end, diff)
	}
}

// TestLinesOnlyIfPreferred: a client that takes both gets JSON.
func TestLinesOnlyIfPreferred(t *testing.T) {
	s := start(t)
	_, key := s.subscriber()
	for accept, want := range map[string]string{
		"": jsonType, "*/*": jsonType, "application/json, application/x-ndjson, application/problem+json": jsonType, "application/x-ndjson;q=0, */*": jsonType,
		"application/x-ndjson": linesType, "application/json;q=0.5,Application/X-NDJSON;q=0.8": linesType, "application/x-ndjson, */*;q=0.1": linesType,
		"application/x-ndjson;q=0.5, application/json;q=0.8": jsonType, "application/x-ndjson;q=x": jsonType,
	} {
		got := s.do(call{method: "GET", path: webhookPath + "/deliveries", apiKey: key, header: map[string]string{"Accept": accept}}).want(t, http.StatusOK)
		if media := got.header.Get("Content-Type"); media != want || got.header.Get("Vary") != "Accept" {
			t.Errorf("Accept %q: got %s, Vary %q; want %s, Vary Accept", accept, media, got.header.Get("Vary"), want)
		}
		s.do(call{method: "GET", path: webhookPath + "/deliveries?limit=0", apiKey: key, header: map[string]string{"Accept": accept}}).want(t, http.StatusBadRequest)
	}
}

// failing is a store whose listings fail from the second on.
type failing struct {
	store.Store
	read int
}

func (f *failing) Deliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	if f.read++; f.read > 1 {
		return store.DeliveryPage{}, errDown
	}
	return f.Store.Deliveries(ctx, q)
}

// TestLinesThatCannotBeReadOnEndWithACursor: nobody takes them for all.
func TestLinesThatCannotBeReadOnEndWithACursor(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Store = &failing{Store: c.Store.(store.Store)} })
	id, key := s.subscriber()
	var events []string
	for i := range 150 {
		events = append(events, event(fmt.Sprintf("evt_%d", i), id))
	}
	s.accept(t, events...)
	ids, next := s.listLines(t, key, "")
	if len(ids) != 100 || next == "" {
		t.Errorf("got %d deliveries and cursor %q, want 100 and one", len(ids), next)
	}
	if !strings.Contains(s.log.String(), errDown.Error()) {
		t.Errorf("log: got %s, want the cause", s.log)
	}
	s.do(call{method: "GET", path: webhookPath + "/deliveries?cursor=" + next, apiKey: key, header: map[string]string{"Accept": linesType}}).want(t, http.StatusInternalServerError)
}

func TestPages(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	const total = 120
	var events, want []string
	for i := range total { // all accepted at one time
		events = append(events, event(fmt.Sprintf("evt_%d", i), id))
		want = append([]string{fmt.Sprintf("evt_%d", i)}, want...)
	}
	s.accept(t, events...)
	if got := len(s.list(t, key, "").Deliveries); got != 50 {
		t.Errorf("deliveries without a limit: got %d, want 50", got)
	}
	for _, limit := range []int{1, 7, 60, 100} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			got, query := []string{}, fmt.Sprintf("limit=%d", limit)
			for cursor := ""; ; {
				page := s.list(t, key, query+cursor)
				got = append(got, eventIDs(page)...)
				if page.NextCursor == nil {
					break
				}
				if len(page.Deliveries) != limit || len(got) > total {
					t.Fatalf("page: got %d deliveries and a cursor after %d, want %d", len(page.Deliveries), len(got), limit)
				}
				cursor = "&cursor=" + *page.NextCursor
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// TestForeignCursor: a cursor opens nothing to another account.
func TestForeignCursor(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	_, stranger := s.subscriber()
	s.accept(t, event("evt_1", id), event("evt_2", id))
	cursor := *s.list(t, key, "limit=1").NextCursor
	s.do(call{method: "GET", path: webhookPath + "/deliveries?cursor=" + cursor, apiKey: stranger}).want(t, http.StatusBadRequest)
	for name, bad := range map[string]string{
		"cut": cursor[:len(cursor)-2], "longer": cursor + "AA", "zero": base64.RawURLEncoding.EncodeToString(make([]byte, 16)),
		"loose last bits": cursor[:len(cursor)-1] + "_", "of another key": *start(t).page(t).NextCursor,
	} {
		t.Run(name, func(t *testing.T) {
			s.do(call{method: "GET", path: webhookPath + "/deliveries?cursor=" + bad, apiKey: key}).want(t, http.StatusBadRequest)
		})
	}
}

// page is the first of two of a new account.
func (s *service) page(t *testing.T) gen.DeliveryList {
	t.Helper()
	id, key := s.subscriber()
	s.accept(t, event("evt_1", id), event("evt_2", id))
	return s.list(t, key, "limit=1")
}

// TestCursorOutlivesARestart, as long as the key is the same.
func TestCursorOutlivesARestart(t *testing.T) {
	keyed := func(c *server.Config) { c.CursorKey = bytes.Repeat([]byte{7}, server.CursorKeySize) }
	before, after := start(t, keyed), start(t, keyed)
	cursor := *before.page(t).NextCursor
	id, key := after.subscriber()
	after.accept(t, event("evt_1", id), event("evt_2", id))
	if got := eventIDs(after.list(t, key, "limit=1&cursor="+cursor)); !slices.Equal(got, []string{"evt_1"}) {
		t.Errorf("deliveries: got %v, want evt_1", got)
	}
}

// TestCursorTellsNothingOfOthers: the place in the order of all accounts'
// deliveries would tell how much the others send.
func TestCursorTellsNothingOfOthers(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	other, _ := s.subscriber()
	s.accept(t, event("evt_1", id), event("evt_2", id))
	quiet := *s.list(t, key, "limit=1").NextCursor
	for i := range 700 {
		s.accept(t, event(fmt.Sprint("evt_", i), other))
	}
	s.accept(t, event("evt_3", id))
	for _, text := range []string{quiet, *s.list(t, key, "limit=1").NextCursor, *s.list(t, key, "limit=2").NextCursor} {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(text) != len(quiet) {
			t.Errorf("cursor %q: got %v, want base64 of always the same length", text, err)
		}
		for _, eventID := range []string{"evt_1", "evt_2", "evt_3"} {
			d := s.stored(t, id, eventID)
			for _, n := range []uint32{uint32(d.Seq), uint32(d.AcceptedAt.UnixNano()), uint32(d.AcceptedAt.UnixNano() >> 32)} {
				if bytes.Contains(raw, binary.BigEndian.AppendUint32(nil, n)) {
					t.Errorf("cursor %x holds %x", raw, n)
				}
			}
		}
	}
	if again := *s.list(t, key, "limit=2").NextCursor; again == *s.list(t, key, "limit=2").NextCursor {
		t.Errorf("the cursor of one place: got %s twice, want nothing that can be compared", again)
	}
}

// gated is a store whose listings wait to be let through.
type gated struct {
	store.Store
	begun chan string   // by account
	pass  chan struct{} // one for each
}

func (g *gated) Deliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	g.begun <- q.AccountID
	<-g.pass
	return g.Store.Deliveries(ctx, q)
}

// TestListingsOfAnAccountTakeTurns: one account's listings, however many, leave
// the store to the others.
func TestListingsOfAnAccountTakeTurns(t *testing.T) {
	const listings = 8
	g := &gated{begun: make(chan string, listings+1), pass: make(chan struct{})}
	s := start(t, func(c *server.Config) { g.Store = c.Store.(store.Store); c.Store = g })
	busy, key := s.subscriber()
	quiet, other := s.subscriber()
	var all sync.WaitGroup
	list := func(key string) { all.Go(func() { s.list(t, key, "") }) }
	for range listings {
		list(key)
	}
	if got := <-g.begun; got != busy {
		t.Fatalf("the first listing: got one of %s, want of %s", got, busy)
	}
	list(other)
	if got := <-g.begun; got != quiet {
		t.Errorf("while one of %s runs: got one of %s, want of %s", busy, got, quiet)
	}
	g.pass <- struct{}{} // one of the two
	for range listings - 1 {
		g.pass <- struct{}{}
		if got := <-g.begun; got != busy {
			t.Errorf("next: got a listing of %s, want of %s", got, busy)
		}
	}
	g.pass <- struct{}{}
	all.Wait()
	if len(g.begun) > 0 {
		t.Errorf("got more than %d listings", listings+1)
	}
}

// TestListingThatNobodyWaitsForTakesNoTurn: a caller who leaves is not waited
// for.
func TestListingThatNobodyWaitsForTakesNoTurn(t *testing.T) {
	g := &gated{begun: make(chan string, 3), pass: make(chan struct{})}
	s := start(t, func(c *server.Config) { g.Store = c.Store.(store.Store); c.Store = g })
	_, key := s.subscriber()
	var all sync.WaitGroup
	all.Go(func() { s.list(t, key, "") })
	<-g.begun
	s.askAndLeave(t, key, webhookPath+"/deliveries")
	close(g.pass)
	all.Wait()
	s.list(t, key, "")
}

func TestGetDelivery(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	s.accept(t, event("evt_1", id, `description:"a<b & c>d"`))
	get := func() (gen.DeliveryDetail, string) {
		got := s.do(call{method: "GET", path: webhookPath + "/deliveries/evt_1", apiKey: key}).want(t, http.StatusOK)
		return decode[gen.DeliveryDetail](t, got), got.body
	}
	ms := shown(epoch)
	body := string(s.stored(t, id, "evt_1").Body)
	want := gen.DeliveryDetail{
		EventID: "evt_1", MessageID: "m-1", State: gen.DeliveryStatePENDING, AcceptedAt: ms,
		WaitingFor: new(gen.WaitingForQUEUE), Payload: new(json.RawMessage(body)), Attempts: []gen.Attempt{},
	}
	fresh, text := get()
	if diff := cmp.Diff(want, fresh); diff != "" {
		t.Errorf("fresh (-want +got):\n%s", diff)
	}
	if !strings.Contains(text, body) || !strings.Contains(body, "a<b & c>d") {
		t.Errorf("payload: got %s, want the bytes that are sent: %s", text, body)
	}

	due := epoch.Add(5 * time.Second)
	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{
		State: store.Pending, Failures: 1, DueAt: due,
		Attempt: &store.Attempt{Number: 1, At: epoch, Duration: 87*time.Millisecond + 999, StatusCode: 502, Error: store.HTTPStatus, Response: []byte("Bad \xff<b>"),
			Detail: "NO_ANSWER", Location: "https://example.com/new", Header: "HTTP/1.1 502 Bad\nA: \uFFFD", Address: "203.0.113.7:443",
			Phases: store.Phases{DNS: 1, Connect: 2*time.Millisecond + 999, TLS: time.Second, FirstByte: 4 * time.Millisecond}},
	}, epoch)
	want.AttemptCount, want.WaitingFor = 1, new(gen.WaitingForRETRY)
	want.LastError, want.LastDetail, want.LastStatusCode = new(gen.AttemptErrorHTTPSTATUS), new(gen.AttemptDetailNOANSWER), new(int32(502))
	want.NextAttemptAt = new(shown(due.Add(time.Millisecond))) // rounded up
	want.Attempts = append(want.Attempts, gen.Attempt{
		Number: 1, At: ms, DurationMs: 87, StatusCode: new(int32(502)),
		Error: new(gen.AttemptErrorHTTPSTATUS), Response: new("Bad \uFFFD<b>"),
		Detail: new(gen.AttemptDetailNOANSWER), Location: new("https://example.com/new"),
		ResponseHeader: new("HTTP/1.1 502 Bad\nA: \uFFFD"), Address: new("203.0.113.7:443"), Reused: new(false),
		Phases: &gen.AttemptPhases{DNSMs: new(int64(0)), ConnectMs: new(int64(2)), TLSMs: new(int64(1000)), FirstByteMs: new(int64(4))},
	})
	if failed, _ := get(); true {
		if diff := cmp.Diff(want, failed); diff != "" {
			t.Errorf("after a failure (-want +got):\n%s", diff)
		}
	}

	s.record(t, s.stored(t, id, "evt_1"), store.Outcome{
		State: store.Delivered, Failures: 1,
		Attempt: &store.Attempt{Number: 2, At: due, Duration: time.Millisecond, StatusCode: 204, Probe: true,
			Phases: store.Phases{FirstByte: 1}, Reused: true},
	}, due)
	want.State, want.AttemptCount, want.NextAttemptAt, want.WaitingFor = gen.DeliveryStateDELIVERED, 2, nil, nil
	want.FinishedAt, want.LastError, want.LastDetail, want.LastStatusCode = new(shown(due)), nil, nil, new(int32(204))
	want.Attempts = append(want.Attempts, gen.Attempt{
		Number: 2, At: shown(due), DurationMs: 1, StatusCode: new(int32(204)), Probe: true,
		Reused: new(true), Phases: &gen.AttemptPhases{FirstByteMs: new(int64(0))},
	})
	if done, _ := get(); true {
		if diff := cmp.Diff(want, done); diff != "" {
			t.Errorf("delivered (-want +got):\n%s", diff)
		}
	}
}

// TestWaitingForAnEarlierEventNamesIt, in the listing and alone.
func TestWaitingForAnEarlierEventNamesIt(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	s.accept(t, event("evt_1", id), event("evt_2", id), event("evt_3", id), event("evt_4", id, `messageId:"other"`))
	want := map[string]string{"evt_1": "QUEUE ", "evt_2": "EARLIER_EVENT evt_1", "evt_3": "EARLIER_EVENT evt_2", "evt_4": "QUEUE "}
	listed, alone := map[string]string{}, map[string]string{}
	for _, d := range s.list(t, key, "").Deliveries {
		listed[d.EventID] = string(*d.WaitingFor) + " " + deref(d.WaitingForEventID)
		one := decode[gen.DeliveryDetail](t, s.do(call{method: "GET", path: webhookPath + "/deliveries/" + d.EventID, apiKey: key}).want(t, http.StatusOK))
		alone[d.EventID] = string(*one.WaitingFor) + " " + deref(one.WaitingForEventID)
	}
	if !cmp.Equal(want, listed) || !cmp.Equal(want, alone) {
		t.Errorf("waits: got %v listed and %v alone, want %v", listed, alone, want)
	}
}

func deref(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// TestForeignDeliveryDoesNotExist: what another account has is answered like
// what nobody has, to the byte.
func TestForeignDeliveryDoesNotExist(t *testing.T) {
	s := start(t)
	id, _ := s.subscriber()
	_, stranger := s.subscriber()
	s.accept(t, event("evt_1", id))
	get := func(event string) answer {
		return s.do(call{method: "GET", path: webhookPath + "/deliveries/" + event, apiKey: stranger,
			header: map[string]string{"X-Request-Id": "same"}}).want(t, http.StatusNotFound)
	}
	foreign, none := get("evt_1"), get("evt_2")
	foreign.header.Del("Date")
	none.header.Del("Date")
	if diff := cmp.Diff(none, foreign, cmp.AllowUnexported(answer{})); diff != "" {
		t.Errorf("answer (-nobody's +another's):\n%s", diff)
	}
}

// TestHistoryOutlivesTheWebhook: after DELETE the deliveries can still be read.
func TestHistoryOutlivesTheWebhook(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	s.accept(t, event("evt_1", id))
	s.do(call{method: "DELETE", path: webhookPath, apiKey: key}).want(t, http.StatusNoContent)
	got := s.list(t, key, "")
	if len(got.Deliveries) != 1 || got.Deliveries[0].State != gen.DeliveryStateCANCELLED {
		t.Errorf("deliveries: got %+v, want evt_1, CANCELLED", got.Deliveries)
	}
}
