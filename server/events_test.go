package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// event is a valid event; members are "name":value to add or, if the value is
// empty, the name of a member to leave out.
func event(id, account string, members ...string) string {
	all := map[string]string{
		"id": `"` + id + `"`, "accountId": `"` + account + `"`, "messageId": `"m-1"`, "channel": `"SMS"`,
		"destination": `"+393401234567"`, "status": `"DELIVERED"`, "timestamp": `"2026-11-20T10:30:00Z"`,
	}
	for _, m := range members {
		name, value, _ := strings.Cut(m, ":")
		all[name] = value
		if value == "" {
			delete(all, name)
		}
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, `"`+name+`":`+all[name])
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func batch(events ...string) string { return `{"events":[` + strings.Join(events, ",") + `]}` }

func (s *service) hand(events ...string) answer {
	s.t.Helper()
	return s.do(call{method: "POST", path: "/events", platform: true, body: batch(events...)})
}

func (s *service) accept(t *testing.T, events ...string) {
	t.Helper()
	got := decode[gen.EventsResult](t, s.hand(events...).want(t, http.StatusAccepted))
	if got.Accepted != int32(len(events)) {
		t.Fatalf("accepted: got %+v, want %d", got, len(events))
	}
}

func TestEventsResult(t *testing.T) {
	s := start(t)
	id, _ := s.subscriber()
	other, _ := s.subscriber()
	bare, _ := s.account()
	send := []string{
		event("evt_1", id), event("evt_1", id), event("evt_1", other),
		event("evt_2", bare), event("evt_3", "nobody"), event("evt_4", id),
	}
	skipped := []gen.SkippedEvent{
		{Index: 3, Reason: gen.SkipReasonNOWEBHOOK}, {Index: 4, Reason: gen.SkipReasonUNKNOWNACCOUNT},
	}
	for _, want := range []gen.EventsResult{
		{Accepted: 3, Duplicates: 1, Skipped: skipped},
		{Accepted: 0, Duplicates: 4, Skipped: skipped}, // the same batch again
	} {
		got := decode[gen.EventsResult](t, s.hand(send...).want(t, http.StatusAccepted))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("result (-want +got):\n%s", diff)
		}
	}
}

// TestReusedID: an id that comes again with other content is no repeat, and how
// the same content is written does not matter.
func TestReusedID(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	s.accept(t, event("evt_1", id, `description:"a<b"`))
	sent := string(s.stored(t, id, "evt_1").Body)
	s.setNow(epoch.Add(time.Hour))
	got := decode[gen.EventsResult](t, s.hand(
		event("evt_1", id, `description:"a<b"`),
		event("evt_1", id, `description:"\u0061\u003cb"`, `timestamp:"2026-11-20T11:30:00.000+01:00"`, "part:null", "customerMessageId:null"),
		event("evt_1", id, `description:"a<b"`, `status:"SENT"`),
		event("evt_1", id, `description:"a<b"`, `messageId:"m-2"`),
		event("evt_1", id, `description:"a<c"`),
		event("evt_2", id),
		event("evt_2", id, `channel:"RCS"`),
	).want(t, http.StatusAccepted))
	want := gen.EventsResult{Accepted: 1, Duplicates: 2}
	for _, i := range []int32{2, 3, 4, 6} {
		want.Skipped = append(want.Skipped, gen.SkippedEvent{Index: i, Reason: gen.SkipReasonIDREUSED})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if got := string(s.stored(t, id, "evt_1").Body); got != sent {
		t.Errorf("evt_1: got %s, want what was accepted first: %s", got, sent)
	}
	if got := s.list(t, key, ""); len(got.Deliveries) != 2 {
		t.Errorf("deliveries: got %v, want evt_1 and evt_2", eventIDs(got))
	}
}

// refusing is a store that cannot read one account.
type refusing struct{ store.Store }

func (r refusing) Accept(ctx context.Context, events []store.Event, now time.Time) ([]store.Verdict, error) {
	verdicts, err := r.Store.Accept(ctx, events, now)
	verdicts[0] = store.Unreadable
	return verdicts, err
}

// TestUnreadableAccount: its events are skipped, and the others' are taken.
func TestUnreadableAccount(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Store = refusing{c.Store.(store.Store)} })
	id, _ := s.subscriber()
	other, _ := s.subscriber()
	got := decode[gen.EventsResult](t, s.hand(event("evt_1", id), event("evt_1", other)).want(t, http.StatusAccepted))
	want := gen.EventsResult{Accepted: 1, Skipped: []gen.SkippedEvent{{Index: 0, Reason: gen.SkipReasonACCOUNTUNREADABLE}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestBadEvents(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	long := func(n int) string { return `"` + strings.Repeat("è", n) + `"` }
	for _, tt := range []struct {
		member  string
		pointer string // below the event
	}{
		{"id:", "/id"}, {`id:""`, "/id"}, {`id:"a.b"`, "/id"}, {`id:"` + strings.Repeat("a", 65) + `"`, "/id"}, {`id:"a\n"`, "/id"},
		{"accountId:", "/accountId"}, {`accountId:"a/b"`, "/accountId"}, {`accountId:1`, "/accountId"},
		{"messageId:", "/messageId"}, {`messageId:""`, "/messageId"}, {"messageId:" + long(129), "/messageId"},
		{`messageId:"a\u0000"`, "/messageId"}, {`messageId:"a\n"`, "/messageId"},
		{"customerMessageId:" + long(256), "/customerMessageId"},
		{"channel:", "/channel"}, {`channel:"sms"`, "/channel"}, {`channel:"EMAIL"`, "/channel"}, {`channel:null`, "/channel"},
		{"destination:", "/destination"}, {"destination:null", "/destination"}, {`destination:"393401234567"`, "/destination"},
		{`destination:"+0340"`, "/destination"}, {`destination:"+1234567890123456"`, "/destination"}, {`destination:""`, "/destination"},
		{`recipientId:""`, "/recipientId"}, {"recipientId:" + long(161), "/recipientId"},
		{"status:", "/status"}, {`status:"delivered"`, "/status"}, {`status:"READ"`, "/status"},
		{"final:true", "/final"}, {"final:false", "/final"}, {`final:"false"`, "/final"},
		{"description:" + long(513), "/description"},
		{"timestamp:", "/timestamp"}, {`timestamp:"2026-11-20"`, "/timestamp"}, {`timestamp:"2026-02-31T10:00:00Z"`, "/timestamp"},
		{`timestamp:"2026-11-20T10:30:00"`, "/timestamp"}, {`timestamp:"2026-11-20T10:30:00,5Z"`, "/timestamp"},
		{`timestamp:"2026-11-20 10:30:00Z"`, "/timestamp"}, {"timestamp:1795170600", "/timestamp"},
		{`timestamp:"9999-12-31T23:59:59-23:59"`, "/timestamp"}, {`timestamp:"1970-01-01T00:59:59+01:00"`, "/timestamp"},
		{`timestampSource:"ME"`, "/timestampSource"},
		{`part:{"number":0,"total":1}`, "/part/number"}, {`part:{"number":1,"total":256}`, "/part/total"},
		{`part:{"number":3,"total":2}`, "/part/number"}, {`part:{"number":1}`, "/part/total"}, {`part:{"number":1.5,"total":2}`, "/part/number"},
		{`part:{"number":1,"total":2,"x":3}`, "/part"}, {`part:[]`, "/part"},
		{`fallbackChannel:"FAX"`, "/fallbackChannel"},
		{`price:{"amount":0.1,"currency":"EUR"}`, "/price/amount"}, {`price:{"amount":"1e3","currency":"EUR"}`, "/price/amount"},
		{`price:{"amount":"0.1","currency":"eur"}`, "/price/currency"},
		{`network:{"mccmnc":"22"}`, "/network/mccmnc"}, {`network:{"mccmnc":"22201","operator":` + long(129) + `}`, "/network/operator"},
		{`error:{"code":"x","permanent":true}`, "/error/code"}, {`error:{"code":"X"}`, "/error/permanent"},
		{`error:{"code":"X","permanent":true,"message":` + long(513) + `}`, "/error/message"},
		{`error:{"code":"X","permanent":true,"provider":{"name":"p"}}`, "/error/provider/code"},
		{`error:{"code":"X","permanent":true,"provider":{"name":"p","code":7}}`, "/error/provider/code"},
		{`error:{"code":"X","permanent":true,"provider":{"name":"p","code":"7","details":` + long(1025) + `}}`, "/error/provider/details"},
		{`description:"a\u0000"`, "/description"}, {`customerMessageId:"\u0000"`, "/customerMessageId"}, {`recipientId:"\u0000"`, "/recipientId"},
		{`network:{"mccmnc":"22201","operator":"\u0000"}`, "/network/operator"}, {`error:{"code":"X","permanent":true,"message":"\u0000"}`, "/error/message"},
		{`error:{"code":"X","permanent":true,"provider":{"name":"p","code":"7","details":"\u0000"}}`, "/error/provider/details"},
		{`timestamp:"2026-11-20T10:30:60Z"`, "/timestamp"}, {`timestamp:"2026-11-20T1:30:00Z"`, "/timestamp"}, {`timestamp:"2026-11-20T10:30:00+24:00"`, "/timestamp"},
		{"sequence:1", ""}, {`Status:"SENT"`, ""}, {"x:1", ""},
	} {
		t.Run(tt.member, func(t *testing.T) {
			got := s.hand(event("evt_1", id), event("evt_2", id), event("evt_3", id, tt.member)).want(t, http.StatusBadRequest)
			got.wantPointers(t, "/events/2"+tt.pointer)
		})
	}
	list := decode[gen.DeliveryList](t, s.do(call{method: "GET", path: webhookPath + "/deliveries", apiKey: key}))
	if len(list.Deliveries) != 0 {
		t.Errorf("deliveries: got %d, want none, since all batches had a bad event", len(list.Deliveries))
	}
}

func TestBadEventsAreAllNamed(t *testing.T) {
	s := start(t)
	id, _ := s.subscriber()
	s.hand(event("evt_1", id, "destination:"), event("evt_2", id), event("evt_3", id, `status:"READ"`)).
		want(t, http.StatusBadRequest).wantPointers(t, "/events/0/destination", "/events/2/status")
	s.hand(event("evt_1", id, "id:", "channel:"), event("evt_2", id), event("evt_3", id, "x:1")).
		want(t, http.StatusBadRequest).wantPointers(t, "/events/0/id", "/events/0/channel", "/events/2")

	for name, member := range map[string]string{"by the schema": "id:1", "by more than one member": "destination:"} {
		t.Run("capped, "+name, func(t *testing.T) {
			var many []string
			for i := range 150 {
				many = append(many, event(fmt.Sprintf("evt_%d", i), id, member))
			}
			got := decode[gen.Problem](t, s.hand(many...).want(t, http.StatusBadRequest))
			if got.Errors == nil || len(*got.Errors) != 100 {
				t.Errorf("errors: got %v, want 100", got.Errors)
			}
			if want := "The request body is not valid in 150 places; errors names the first 100."; *got.Detail != want {
				t.Errorf("detail: got %q, want %q", *got.Detail, want)
			}
		})
	}
}

// TestBadEventsAreNamedWhateverTheirFault: one by the schema, one by more than
// one member, one by its size.
func TestBadEventsAreNamedWhateverTheirFault(t *testing.T) {
	s := start(t)
	id, _ := s.subscriber()
	escaped := func(n int) string { return `"` + strings.Repeat(`\u0001`, n) + `"` }
	large := event("evt_5", id, "description:"+escaped(512), "customerMessageId:"+escaped(255),
		`error:{"code":"X","permanent":true,"message":`+escaped(512)+`,"provider":{"name":`+escaped(32)+`,"code":`+escaped(64)+`,"details":`+escaped(1024)+`}}`,
		"recipientId:"+escaped(160), `network:{"mccmnc":"22201","operator":`+escaped(128)+`}`)
	s.hand(event("evt_0", id, `status:"READ"`), event("evt_1", id), event("evt_2", id, "channel:"), event("evt_3", id, "destination:"),
		event("evt_4", id, `timestamp:"yesterday"`, "destination:"), large, event("evt_6", id, "x:1")).
		want(t, http.StatusBadRequest).
		wantPointers(t, "/events/0/status", "/events/2/channel", "/events/3/destination", "/events/4/timestamp", "/events/5", "/events/6")
	s.hand(event("evt_0", id, `status:"READ"`), large).want(t, http.StatusBadRequest).wantPointers(t, "/events/0/status", "/events/1")
}

// TestNullIsAsAbsent: of every optional member, the same is sent.
func TestNullIsAsAbsent(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	sent := func(name string, members ...string) string {
		t.Helper()
		s.accept(t, event(name, id, append(members, `messageId:"`+name+`"`)...))
		got := s.do(call{method: "GET", path: webhookPath + "/deliveries/" + name, apiKey: key}).want(t, http.StatusOK)
		payload, err := json.Marshal(decode[struct{ Payload any }](t, got).Payload)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(payload), name, "")
	}
	input := loadContract(t).doc.Components.Schemas["EventInput"].Value
	for name := range input.Properties {
		if slices.Contains(input.Required, name) {
			continue
		}
		more := "description:\"d\""
		if name == "destination" || name == "description" {
			more = `recipientId:"r"`
		}
		if got, want := sent("null_"+name, more, name+":null"), sent("absent_"+name, more, name+":"); got != want {
			t.Errorf("%s: got %s for null, want %s as without", name, got, want)
		}
	}
}

// TestTimesAreReadAsRFC3339WritesThem, and written with three decimals in UTC.
func TestTimesAreReadAsRFC3339WritesThem(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	for i, tt := range []struct{ given, want string }{
		{"2026-11-20T10:30:00Z", "2026-11-20T10:30:00.000Z"},
		{"2026-11-20t10:30:00z", "2026-11-20T10:30:00.000Z"},
		{"2026-11-20T10:30:00.12399+01:00", "2026-11-20T09:30:00.123Z"},
		{"2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"},
		{"2017-01-01t00:59:60.5+01:00", "2017-01-01T00:00:00.500Z"},
	} {
		evt := fmt.Sprintf("evt_%d", i)
		s.accept(t, event(evt, id, `timestamp:"`+tt.given+`"`))
		got := s.do(call{method: "GET", path: webhookPath + "/deliveries/" + evt, apiKey: key}).want(t, http.StatusOK)
		if at := decode[struct{ Payload struct{ Timestamp string } }](t, got).Payload.Timestamp; at != tt.want {
			t.Errorf("%s: got %s, want %s", tt.given, at, tt.want)
		}
	}
	for given, want := range map[string]string{
		"2026-11-20T10:30:60Z": "leap second", "2026-11-20T10:30:00": "offset", "2262-01-01T00:00:00Z": "from 1970 to 2261", "today": "RFC 3339",
	} {
		got := s.hand(event("evt_bad", id, `timestamp:"`+given+`"`)).want(t, http.StatusBadRequest)
		if !strings.Contains(got.body, want) {
			t.Errorf("%s: got %s, want a reason with %q", given, got.body, want)
		}
	}
}

func TestBatchLimits(t *testing.T) {
	s := start(t)
	id, _ := s.subscriber()
	var thousand []string
	for i := range 1001 {
		thousand = append(thousand, event(fmt.Sprintf("evt_%d", i), id))
	}
	s.hand().want(t, http.StatusBadRequest).wantPointers(t, "/events")
	s.hand(thousand...).want(t, http.StatusBadRequest).wantPointers(t, "/events")
	s.accept(t, thousand[:1000]...)
	// What is wrong with each of too many is not looked for.
	s.hand(slices.Repeat([]string{"{}"}, 1001)...).want(t, http.StatusBadRequest).wantPointers(t, "/events")

	one := batch(event("evt_x", id))
	for _, tt := range []struct {
		name, body string
		header     map[string]string
		want       int
	}{
		{"filled up to 1 MiB", one + strings.Repeat(" ", 1<<20-len(one)), nil, 202},
		{"one byte more", one + strings.Repeat(" ", 1<<20-len(one)+1), nil, 413},
		{"10 MiB", strings.Repeat(" ", 10<<20), nil, 413},
		{"empty", "", nil, 400},
		{"null", "null", nil, 400},
		{"no events", "{}", nil, 400},
		{"more than events", `{"events":[],"x":1}`, nil, 400},
		{"events null", `{"events":null}`, nil, 400},
		{"not JSON", `{"events":[`, nil, 400},
		{"no type", one, map[string]string{"Content-Type": ""}, 415},
		{"NDJSON", one, map[string]string{"Content-Type": "application/x-ndjson"}, 415},
		{"gzip", one, map[string]string{"Content-Encoding": "gzip"}, 415},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.do(call{method: "POST", path: "/events", platform: true, body: tt.body, header: tt.header}).want(t, tt.want)
		})
	}
}

// TestLargestEvent: what the lengths allow fits into 16 KiB, but for texts that
// JSON has to escape.
func TestLargestEvent(t *testing.T) {
	s := start(t)
	id, key := s.subscriber()
	full := func(char string) string {
		text := func(n int) string { return `"` + strings.Repeat(char, n) + `"` }
		return event(strings.Repeat("e", 64), id,
			"messageId:\""+strings.Repeat("📦", 128)+"\"", "customerMessageId:"+text(255), "recipientId:"+text(160), "description:"+text(512),
			`network:{"mccmnc":"22201","operator":`+text(128)+`}`, `price:{"amount":"123456789.123456789","currency":"EUR"}`,
			`part:{"number":255,"total":255}`, `fallbackChannel:"WHATSAPP"`, `status:"UNDELIVERABLE"`,
			`error:{"code":"`+strings.Repeat("E", 64)+`","permanent":false,"message":`+text(512)+
				`,"provider":{"name":`+text(32)+`,"code":`+text(64)+`,"details":`+text(1024)+`}}`)
	}
	s.accept(t, full("📦"))
	got := s.do(call{method: "GET", path: webhookPath + "/deliveries/" + strings.Repeat("e", 64), apiKey: key}).want(t, http.StatusOK)
	if len(got.body) > 17<<10 {
		t.Errorf("delivery: got %d bytes, want a payload of at most 16 KiB", len(got.body))
	}
	s.hand(full(`\u0001`)).want(t, http.StatusBadRequest).wantPointers(t, "/events/0")
}
