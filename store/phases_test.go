package store_test

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

// Whatever a row holds can be shown, and what is read is written as it was.
func FuzzUnpackPhases(f *testing.F) {
	for _, a := range []store.Attempt{
		{}, {Reused: true}, {Address: "[2001:db8::1]:8443"},
		{Phases: store.Phases{Proxy: time.Second}, Reused: true, Address: "203.0.113.7:443"},
		{Phases: store.Phases{DNS: 1, Connect: time.Microsecond, TLS: time.Second, FirstByte: time.Hour}, Address: "203.0.113.7:443"},
	} {
		f.Add(a.PackPhases())
	}
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x00\xff"))
	f.Fuzz(func(t *testing.T, row []byte) {
		var a, again store.Attempt
		a.UnpackPhases(row)
		for _, d := range []time.Duration{a.Phases.DNS, a.Phases.Connect, a.Phases.Proxy, a.Phases.TLS, a.Phases.FirstByte} {
			if d < 0 || !utf8.ValidString(a.Address) {
				t.Errorf("read %+v, want what can be shown", a)
			}
		}
		again.UnpackPhases(a.PackPhases())
		if diff := cmp.Diff(a, again); diff != "" {
			t.Errorf("written and read again (-want +got):\n%s", diff)
		}
	})
}

// A phase that there was is not nothing, however short.
func TestShortPhaseStays(t *testing.T) {
	var got store.Attempt
	kept := store.Attempt{Phases: store.Phases{DNS: 1, TLS: 1001}}
	got.UnpackPhases(kept.PackPhases())
	if want := (store.Phases{DNS: time.Microsecond, TLS: 2 * time.Microsecond}); got.Phases != want {
		t.Errorf("phases: got %+v, want %+v", got.Phases, want)
	}
}
