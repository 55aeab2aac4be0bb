package brokers

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/recapito/recapito/verify/rig"
)

// provided are messages as the map of a provider reads them, and the callback that its
// account gets: without the times and the event's id, which the test checks apart.
var provided = map[string]struct{ message, callback string }{
	"smpp": {`{"source_addr": "393401234567", "short_message": "id:1 sub:001 dlvrd:000 submit date:2611201029 done date:2611201030 stat:UNDELIV err:040 text:"}`,
		`{"version":1,"eventType":"DELIVERY","accountId":"acc_1","messageId":"1","customerMessageId":null,"channel":"SMS","destination":"+393401234567","recipientId":null,"status":"UNDELIVERABLE","final":true,"statusRank":40,"statusCode":6,"description":"","timestamp":"2026-11-20T10:30:00.000Z","timestampSource":"PROVIDER","part":null,"fallbackChannel":null,"error":{"code":"OTHER","permanent":false,"provider":{"name":"smpp","code":"040","details":"stat:UNDELIV"}},"sequence":1}`},
	"meta": {`{"entry": [{"changes": [{"value": {"statuses": [{"id": "wamid.A", "status": "read", "timestamp": "1795170600", "recipient_id": "393401234567"}]}}]}]}`,
		`{"version":1,"eventType":"READ","accountId":"acc_1","messageId":"wamid.A","customerMessageId":null,"channel":"WHATSAPP","destination":"+393401234567","recipientId":null,"status":"READ","final":true,"statusRank":60,"description":"","timestamp":"2026-11-20T10:30:00.000Z","timestampSource":"PROVIDER","part":null,"fallbackChannel":null,"error":null,"sequence":1}`},
	"rbm": {`{"phoneNumber": "+393401234567", "messageId": "m-1", "eventType": "TTL_EXPIRATION_REVOKE_FAILED", "eventId": "s1", "sendTime": "2026-11-20T10:30:00Z"}`,
		`{"version":1,"eventType":"DELIVERY","accountId":"acc_1","messageId":"m-1","customerMessageId":null,"channel":"RCS","destination":"+393401234567","recipientId":null,"status":"EXPIRED","final":false,"statusRank":40,"description":"","timestamp":"2026-11-20T10:30:00.000Z","timestampSource":"PROVIDER","part":null,"fallbackChannel":null,"error":{"code":"TTL_EXPIRED","permanent":false,"provider":{"name":"rbm","code":"TTL_EXPIRATION_REVOKE_FAILED"}},"sequence":1}`},
	"twilio": {`{"MessageSid": "SM1", "MessageStatus": "delivered", "To": "whatsapp:+393401234567"}`,
		`{"version":1,"eventType":"DELIVERY","accountId":"acc_1","messageId":"SM1","customerMessageId":null,"channel":"WHATSAPP","destination":"+393401234567","recipientId":null,"status":"DELIVERED","final":true,"statusRank":50,"statusCode":3,"description":"","timestamp":"","timestampSource":"PLATFORM","part":null,"fallbackChannel":null,"error":null,"sequence":1}`},
	"infobip": {`{"results": [{"messageId": "m-2", "to": "393401234567", "doneAt": "2026-11-20T11:30:00.000+0100", "mccMnc": "22201", "status": {"groupName": "DELIVERED", "name": "DELIVERED_TO_HANDSET", "description": "Delivered"}}]}`,
		`{"version":1,"eventType":"DELIVERY","accountId":"acc_1","messageId":"m-2","customerMessageId":null,"channel":"SMS","destination":"+393401234567","recipientId":null,"status":"DELIVERED","final":true,"statusRank":50,"statusCode":3,"description":"Delivered","timestamp":"2026-11-20T10:30:00.000Z","timestampSource":"PROVIDER","part":null,"fallbackChannel":null,"network":{"mccmnc":"22201"},"error":null,"sequence":1}`},
}

// A message of each provider becomes its callback, through the map of packaging/maps. What
// the provider sends twice arrives once, and what has no account is a dead letter that
// says so.
func TestNATSMapsOfProviders(t *testing.T) {
	w := newWorld(t)
	s := newNATS(t)
	providers := slices.Sorted(maps.Keys(provided))
	if files, err := filepath.Glob("../../packaging/maps/*.jq"); err != nil || len(files) != len(providers) {
		t.Fatalf("the maps: got %q, %v, want those of %q", files, err, providers)
	}
	for _, name := range providers {
		for _, header := range []nats.Header{{"account": {account}}, {"account": {account}}, {}} {
			m := &nats.Msg{Subject: "status." + name, Data: []byte(provided[name].message), Header: header}
			if _, err := s.js.PublishMsg(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		flags := s.flags()
		flags[1] += "?consumer=" + name + "&subject=status." + name
		w.feed(append(flags, "--map", "../../packaging/maps/"+name+".jq", "--drop", "ID_REUSED")...)
	}
	w.await(len(providers))
	for i, l := range s.letters(t, len(providers)) {
		if l.headers["recapito-reason"] != "MAP_FAILED" || !strings.Contains(l.headers["recapito-detail"], "the header account is missing") {
			t.Errorf("dead letter %d: got %+v, want one without an account", i, l)
		}
	}
	if err := rig.Await(limit, "the consumers to have nothing left", func() bool {
		return !slices.ContainsFunc(providers, func(name string) bool {
			c, err := s.js.Consumer(t.Context(), "STATUS", name)
			return err != nil || c.CachedInfo().NumPending > 0 || c.CachedInfo().NumAckPending > 0
		})
	}); err != nil {
		t.Fatal(err)
	}
	w.settled()
	checkCallbacks(t, w)
}

// checkCallbacks compares what arrived with what was to arrive, by message.
func checkCallbacks(t *testing.T, w *world) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := make(map[string]string)
	for id, body := range w.bodies {
		if w.times[id] != 1 {
			t.Errorf("event %s: got %d callbacks, want 1", id, w.times[id])
		}
		var event map[string]any
		if err := json.Unmarshal(body, &event); err != nil {
			t.Fatal(err)
		}
		delete(event, "eventId")
		delete(event, "receivedAt")
		if event["timestampSource"] == "PLATFORM" { // the time of the broker's message
			event["timestamp"] = ""
		}
		text, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		got[event["messageId"].(string)] = string(text)
	}
	if len(w.bodies) != len(provided) {
		t.Errorf("callbacks: got %d, want %d", len(w.bodies), len(provided))
	}
	for name, p := range provided {
		var event map[string]any
		if err := json.Unmarshal([]byte(p.callback), &event); err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		if g := got[event["messageId"].(string)]; g != string(want) {
			t.Errorf("%s: got\n%s, want\n%s", name, g, want)
		}
	}
}
