package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/recapito/recapito/store"
)

func testWebhooks(t *testing.T, open Opener) {
	t.Run("create and read", func(t *testing.T) {
		s := open(t)
		account(t, s, "a", "b")
		in := hook("a")
		made, err := s.CreateWebhook(t.Context(), in)
		must(t, err)
		in.Version, in.FirstSeq, in.Health = 1, made.FirstSeq, store.Health{State: store.HealthHealthy, Since: t0, Version: 1}
		if diff := cmp.Diff(in, made); diff != "" {
			t.Errorf("CreateWebhook (-want +got):\n%s", diff)
		}
		got, err := s.Webhook(t.Context(), "a")
		must(t, err)
		if diff := cmp.Diff(made, got); diff != "" {
			t.Errorf("Webhook (-want +got):\n%s", diff)
		}
		if _, err := s.Webhook(t.Context(), "b"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Webhook of another account: %v, want ErrNotFound", err)
		}
	})
	t.Run("conflict and unknown account", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		if _, err := s.CreateWebhook(t.Context(), hook("a")); !errors.Is(err, store.ErrConflict) {
			t.Errorf("second: %v, want ErrConflict", err)
		}
		if _, err := s.CreateWebhook(t.Context(), hook("x")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("unknown account: %v, want ErrNotFound", err)
		}
	})
	t.Run("of concurrent creates one wins", func(t *testing.T) {
		s := open(t)
		account(t, s, "a")
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				switch _, err := s.CreateWebhook(t.Context(), hook("a")); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, store.ErrConflict):
					lost.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 39 {
			t.Errorf("%d won and %d lost, want 1 and 39", won.Load(), lost.Load())
		}
	})
	t.Run("changes", func(t *testing.T) {
		s := open(t)
		l := &listener{}
		s.Listen(l)
		ready(t, s, "a")
		before, err := s.Webhook(t.Context(), "a")
		must(t, err)
		must(t, s.SuspendWebhook(t.Context(), before, at(time.Second)))
		must(t, s.SuspendWebhook(t.Context(), before, at(time.Minute))) // not as seen any more
		w, err := s.Webhook(t.Context(), "a")
		must(t, err)
		if w.Status != store.Suspended || w.Version != 2 || !w.UpdatedAt.Equal(at(time.Second)) {
			t.Errorf("suspended: %+v, want SUSPENDED, version 2, updated once", w)
		}
		w, err = s.ReplaceCallbackURL(t.Context(), "a", "https://new.example/", at(time.Hour))
		must(t, err)
		want := before
		want.CallbackURL, want.UpdatedAt, want.Version = "https://new.example/", at(time.Hour), 3
		want.Health = store.Health{State: store.HealthHealthy, Since: at(time.Hour), Version: 3}
		if diff := cmp.Diff(want, w); diff != "" {
			t.Errorf("replaced (-want +got):\n%s", diff)
		}
		w, err = s.RotateSecret(t.Context(), "a", []byte("new secret"), at(24*time.Hour), at(2*time.Hour))
		must(t, err)
		want.OldSecrets, want.Secret = []store.OldSecret{{Secret: before.Secret, Until: at(24 * time.Hour)}}, []byte("new secret")
		want.UpdatedAt, want.Version = at(2*time.Hour), 4
		if diff := cmp.Diff(want, w); diff != "" {
			t.Errorf("rotated (-want +got):\n%s", diff)
		}
		must(t, s.DeleteWebhook(t.Context(), "a", at(3*time.Hour)))
		wantChanges := []string{
			"a https://a.example/ ACTIVE 1", "a https://a.example/ SUSPENDED 2",
			"a https://new.example/ ACTIVE 3", "a https://new.example/ ACTIVE 4", "a none",
		}
		if diff := cmp.Diff(wantChanges, l.changes); diff != "" {
			t.Errorf("the listener was told (-want +got):\n%s", diff)
		}
	})
	t.Run("a PUT makes everything due, in however many commits", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		makes := func(when string, want bool) {
			t.Helper()
			w, err := s.Webhook(t.Context(), "a")
			must(t, err)
			read := backlog(t, s, all(t0)).Webhook
			if w.MakeDue != want || read.MakeDue != want {
				t.Errorf("%s: MakeDue is %t, and %t with the backlog; want %t", when, w.MakeDue, read.MakeDue, want)
			}
		}
		put := func(now time.Time) {
			t.Helper()
			_, err := s.ReplaceCallbackURL(t.Context(), "a", "https://new.example/", now)
			must(t, err)
		}
		accept(t, s, t0, event("b", "e", "m"))
		put(t0)
		makes("nothing was PENDING", false)
		ds := accept(t, s, t0, event("a", "e1", "m1"), event("a", "e2", "m2"))
		put(t0)
		makes("something was fresh", true)
		must(t, s.Record(t.Context(), []store.Outcome{again(&ds[0], at(time.Hour)), again(&ds[1], at(time.Hour))}, t0))
		_, err := s.RotateSecret(t.Context(), "a", []byte("new secret"), at(time.Hour), at(time.Second))
		must(t, err)
		for _, tt := range []struct {
			limit, want int
			still       bool
		}{{1, 1, true}, {1, 1, true}, {1, 0, false}} {
			n, err := s.MakeDue(t.Context(), "a", at(time.Minute), tt.limit)
			must(t, err)
			if n != tt.want {
				t.Errorf("MakeDue: %d, want %d", n, tt.want)
			}
			makes(fmt.Sprint("after ", n), tt.still)
		}
		put(at(time.Minute))
		must(t, s.DeleteWebhook(t.Context(), "a", at(time.Minute)))
		_, err = s.CreateWebhook(t.Context(), hook("a"))
		must(t, err)
		makes("the next webhook", false)
	})
	t.Run("each old secret signs to its own end", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		first, err := s.Webhook(t.Context(), "a")
		must(t, err)
		texts := []string{string(first.Secret)}
		rotate := func(n int) (store.Webhook, error) {
			now := at(time.Duration(n) * time.Hour)
			return s.RotateSecret(t.Context(), "a", fmt.Append(nil, "secret ", n), now.Add(24*time.Hour), now)
		}
		signs := func(what string, hour, want int) {
			t.Helper()
			w, err := s.Webhook(t.Context(), "a")
			must(t, err)
			var got []string
			for _, secret := range w.SigningSecrets(at(time.Duration(hour) * time.Hour)) {
				got = append(got, string(secret))
			}
			newest := slices.Clone(texts[len(texts)-want:])
			slices.Reverse(newest)
			if diff := cmp.Diff(newest, got); diff != "" {
				t.Errorf("%s: secrets that sign (-want +got):\n%s", what, diff)
			}
		}
		for n := range store.MaxOldSecrets {
			w, err := rotate(n)
			must(t, err)
			texts = append(texts, string(w.Secret))
		}
		before, err := s.Webhook(t.Context(), "a")
		must(t, err)
		if _, err := rotate(store.MaxOldSecrets); !errors.Is(err, store.ErrTooMany) {
			t.Errorf("one more rotation: %v, want ErrTooMany", err)
		}
		after, err := s.Webhook(t.Context(), "a")
		must(t, err)
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("a refused rotation changed the webhook (-before +after):\n%s", diff)
		}
		signs("all", 23, 11)
		signs("the first has ended", 24, 10)
		w, err := rotate(24)
		must(t, err)
		texts = append(texts, string(w.Secret))
		signs("rotated again", 24, 11)
		if n := len(w.OldSecrets); n != store.MaxOldSecrets {
			t.Errorf("%d old secrets are kept, want %d: the first has ended", n, store.MaxOldSecrets)
		}
		_, err = s.Sweep(t.Context(), at(30*time.Hour), 100*time.Hour, 10)
		must(t, err)
		w, err = s.Webhook(t.Context(), "a")
		must(t, err)
		if n := len(w.OldSecrets); n != 4 || w.Version != 12 {
			t.Errorf("%d old secrets and version %d after a sweep, want 4 and 12", n, w.Version)
		}
		signs("swept", 30, 5)
		must(t, s.DeleteWebhook(t.Context(), "a", t0))
		made, err := s.CreateWebhook(t.Context(), hook("a"))
		must(t, err)
		if len(made.OldSecrets) > 0 {
			t.Errorf("the next webhook has %d old secrets, want none", len(made.OldSecrets))
		}
	})
	t.Run("none", func(t *testing.T) {
		s := open(t)
		account(t, s, "a")
		_, replace := s.ReplaceCallbackURL(t.Context(), "a", "https://x.example/", t0)
		_, rotate := s.RotateSecret(t.Context(), "a", []byte("x"), t0, t0)
		for name, err := range map[string]error{"replace": replace, "rotate": rotate, "delete": s.DeleteWebhook(t.Context(), "a", t0)} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", name, err)
			}
		}
		if err := s.SuspendWebhook(t.Context(), hook("a"), t0); err != nil {
			t.Errorf("suspend: %v, want nil", err)
		}
	})
	t.Run("what is returned is a copy", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a")
		w, err := s.Webhook(t.Context(), "a")
		must(t, err)
		w.Secret[0] ^= 0xff
		again, err := s.Webhook(t.Context(), "a")
		must(t, err)
		if cmp.Equal(w.Secret, again.Secret) {
			t.Error("changing a returned secret changed the store")
		}
	})
	t.Run("delete cancels, and the next webhook inherits nothing", func(t *testing.T) {
		s := open(t)
		ready(t, s, "a", "b")
		var events []store.Event
		for i := range 1700 {
			events = append(events, event("a", fmt.Sprint("e", i), fmt.Sprint("m", i)))
		}
		accept(t, s, t0, events...)
		accept(t, s, t0, event("b", "e", "m"))
		must(t, s.DeleteWebhook(t.Context(), "a", at(time.Second)))
		wantTotals(t, s, 701, 0, 0, 1000)
		made, err := s.CreateWebhook(t.Context(), hook("a"))
		must(t, err)
		fresh := accept(t, s, at(time.Minute), event("a", "new", "m"))
		if fresh[0].Seq < made.FirstSeq {
			t.Errorf("a new delivery has Seq %d, before the webhook's FirstSeq %d", fresh[0].Seq, made.FirstSeq)
		}
		n, err := s.Cancel(t.Context(), "a", at(time.Minute), 500)
		must(t, err)
		m, err := s.Cancel(t.Context(), "a", at(time.Minute), 500)
		must(t, err)
		if n != 500 || m != 200 {
			t.Errorf("Cancel: %d, then %d; want 500, then 200", n, m)
		}
		wantTotals(t, s, 2, 0, 0, 1700)
	})
}
