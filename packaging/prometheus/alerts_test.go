package prometheus

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// breakage is one way in which a running service goes wrong.
type breakage struct {
	name, alert string // alert "": none is to fire
	settings    []string
	// prepare makes the machine before the service is started; endpoint is where an
	// account's callbacks go, by default one that acknowledges.
	prepare  func(*site)
	endpoint func(k *sink, i int) string
	ready    func(*site) // when it serves
	// well is done before every scrape while nothing is wrong.
	well func(*site, *watcher)
	// spoil breaks it, and each goes on with that before every scrape.
	spoil func(*site, *watcher)
	each  func(*site)
	// mend is what is repaired elsewhere. The rest is the runbook's.
	mend func(*site, *watcher)
}

const (
	wellFor  = 40  // scrapes, ten minutes
	brokenBy = 400 // the alert fires
	stillFor = 20  // scrapes, five minutes: nothing else fires
	overBy   = 1200
)

// Each breakage has its alert fire and no other. Who follows the runbook, ends it.
func TestAlerts(t *testing.T) {
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			b.run(t)
		})
	}
}

func (b *breakage) run(t *testing.T) {
	s := newSite(t, b.settings...)
	if b.prepare != nil {
		b.prepare(s)
	}
	s.must(s.start())
	s.register(func(i int) string {
		if b.endpoint != nil {
			return b.endpoint(s.sink, i)
		}
		return s.sink.URL
	})
	if b.ready != nil {
		b.ready(s)
	}
	w := newWatcher(t, "http://"+s.ops)
	for range wellFor {
		if firing := s.pass(w, func(s *site) {
			if b.well != nil {
				b.well(s, w)
			}
		}); len(firing) > 0 {
			t.Fatalf("%q fire while nothing is wrong: %s", firing, w.describe(firing[0]))
		}
	}
	b.spoil(s, w)
	if b.alert == "" {
		for range 2 * wellFor {
			if firing := s.pass(w, b.each); len(firing) > 0 {
				t.Fatalf("%q fire, want none: %s", firing, w.describe(firing[0]))
			}
		}
		return
	}
	b.fires(t, s, w)
	t.Logf("it says: %s", w.describe(b.alert))
	b.cure(t, s, w)
}

// fires waits for the alert, and fails if another one fires until then or a while after.
func (b *breakage) fires(t *testing.T, s *site, w *watcher) {
	t.Helper()
	since := -1
	for i := 0; since < 0 || i < since+stillFor; i++ {
		firing := s.pass(w, b.each)
		if since < 0 && len(firing) > 0 {
			since = i
		}
		if slices.ContainsFunc(firing, func(a string) bool { return a != b.alert }) {
			t.Fatalf("%q fire, want %s alone; log:\n%s", firing, b.alert, s.log())
		}
		if since < 0 && i > brokenBy {
			t.Fatalf("%s does not fire; log:\n%s", b.alert, s.log())
		}
	}
}

// cure follows the runbook, and waits for the end of the alert.
func (b *breakage) cure(t *testing.T, s *site, w *watcher) {
	t.Helper()
	look, do := halves(t, b.alert)
	s.follow(look)
	if b.mend != nil {
		b.mend(s, w)
	}
	s.follow(do)
	for i := 0; ; i++ {
		firing := s.pass(w, nil)
		if len(firing) == 0 {
			return
		}
		if slices.ContainsFunc(firing, func(a string) bool { return a != b.alert }) {
			t.Fatalf("%q fire after the runbook was followed, want %s at most; log:\n%s", firing, b.alert, s.log())
		}
		if i > overBy {
			t.Fatalf("%s still fires after the runbook was followed: %s; log:\n%s", b.alert, w.describe(b.alert), s.log())
		}
	}
}

// pass lets a scrape's time pass: the platform hands in an event for each account.
func (s *site) pass(w *watcher, each func(*site)) []string {
	s.t.Helper()
	begin := time.Now()
	s.feed(platformKey, accounts, account)
	if each != nil {
		each(s)
	}
	firing := w.scrape()
	time.Sleep(time.Until(begin.Add(tick)))
	return firing
}

// halves are what a runbook has under Look and under Do.
func halves(t *testing.T, alert string) (look, do string) {
	t.Helper()
	look, do, ok := strings.Cut(runbook(t, alert), "**Do.**")
	if !ok || !strings.Contains(look, "**Look.**") || !strings.Contains(do, "**Over.**") {
		t.Fatalf("the runbook of %s lacks Look, Do or Over", alert)
	}
	return look, do
}
