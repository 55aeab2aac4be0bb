package brokers

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// broker is a real one, with a place of messages and a place of dead letters.
type broker interface {
	flags() []string                             // --from, --dead-letter and what else it needs
	publish(t *testing.T, bodies, keys []string) // returns when they are kept
	letters(t *testing.T, n int) []letter        // waits for so many
	restart()                                    // by kill -9
}

// letter is a dead letter.
type letter struct {
	body    string
	headers map[string]string
}

// live feeds the traffic while the feeders, the broker and the service go and come.
func live(t *testing.T, w *world, b broker, inOrder bool) {
	t.Helper()
	bodies, keys := traffic()
	b.publish(t, bodies, keys)
	flags := append(b.flags(), "--batch", "7")
	one, other := w.feed(flags...), w.feed(flags...)
	w.await(100)
	one.kill()
	w.await(200)
	one = w.feed(flags...)
	w.await(300)
	b.restart()
	w.await(450)
	other.kill()
	w.await(550)
	other = w.feed(flags...)
	w.await(600)
	if err := w.service.Stop(); err != nil {
		t.Errorf("serve: %v", err)
	}
	awaitOneOf(t, "server: the server cannot be reached", one, other)
	w.start()
	w.await(len(bodies))
	for _, f := range []*feeder{one, other} {
		f.awaitReady(t)
		if err := f.stop(t); err != nil {
			t.Errorf("feed ended with %v, want no error", err)
		}
	}
	w.check(inOrder)
	if got := b.letters(t, 0); len(got) > 0 {
		t.Errorf("dead letters: got %d, the first %+v, want none", len(got), got[0])
	}
}

// bury feeds what cannot be handed in, between events that can.
func bury(t *testing.T, w *world, b broker) {
	t.Helper()
	event := func(id, account, more string) string {
		return `{"id":"` + id + `","accountId":"` + account + `","messageId":"m-0","channel":"SMS","destination":"+393401234567","status":"SENT","timestamp":"2026-11-20T10:30:00Z"` + more + `}`
	}
	bad := []struct{ body, reason, detail string }{
		{"\xff", "NOT_TEXT", "not UTF-8"},
		{`{"id":1,"id":2}`, "NOT_JSON", "duplicate"},
		{"id:1", "MAP_FAILED", "must be a JSON object, not string"},
		{event("evt_3", account, `,"wrong":1`), "REFUSED", "wrong"},
		{event("evt_4", account, `,"part":{"number":0,"total":1}`), "REFUSED", "part/number"},
		{event("evt_5", "acc_2", ""), "UNKNOWN_ACCOUNT", "no such account"},
		{event("evt_0", account, `,"description":"another"`), "ID_REUSED", "another event with this id"},
	}
	bodies := []string{event("evt_0", account, "")}
	for i, m := range bad {
		bodies = append(bodies, m.body, event("evt_good_"+string(rune('a'+i)), account, ""))
	}
	b.publish(t, bodies, slices.Repeat([]string{"m-0"}, len(bodies)))
	f := w.feed(append(b.flags(), "--drop", "ANOTHER")...)
	got := b.letters(t, len(bad))
	w.await(1 + len(bad))
	if err := f.stop(t); err != nil {
		t.Errorf("feed ended with %v, want no error", err)
	}
	w.settled()
	for i, want := range bad {
		if got[i].body != want.body || got[i].headers["recapito-reason"] != want.reason || !strings.Contains(got[i].headers["recapito-detail"], want.detail) {
			t.Errorf("dead letter %d: got %+v, want %s, %s with %q", i, got[i], want.body, want.reason, want.detail)
		}
		if got[i].headers["recapito-source"] == "" || got[i].headers["own"] != "header" {
			t.Errorf("dead letter %d: got the headers %v, want its place, and those of its own", i, slices.Sorted(maps.Keys(got[i].headers)))
		}
	}
	if n := len(b.letters(t, len(bad))); n != len(bad) {
		t.Errorf("dead letters: got %d, want %d", n, len(bad))
	}
}
