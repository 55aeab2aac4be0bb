package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/sqlite"
)

// An outage of 80 hours that ended two hours ago, and what was given up in each of its hours.
const (
	outageHours  = 80
	outageHourly = 30
	outageEvents = outageHours * outageHourly
)

// walkOutage: after 80 hours the endpoint is well again. Its holder finds what was given up,
// sends all of that again with one act, and watches it to its end.
func walkOutage(t *testing.T, bin string) {
	ca := newAuthority(t)
	to := newSink(t, ca)
	db := filepath.Join(t.TempDir(), "recapito.db")
	began := seedOutage(t, db, to)
	c := &console{keys: map[string]string{"acc": accountKey}, svc: serve(t, bin, db, "--callback-ca", ca.file, "--attempt-timeout", "1m")}
	if code, answer := c.svc.api("POST", "/events", bearer, batch([]string{event("acc", "new", "m-new", "SENT")})); code != http.StatusAccepted {
		t.Fatalf("POST /events: %d %s", code, answer)
	}
	c.awaits("acc", "HEALTHY", 0)
	watched := to.hold(t)
	c.browser = newBrowser(t)
	c.choosesOutage(began)
	c.show("acc", "en", "/status")
	c.says("All is well.")
	c.js(`(addEventListener('click', () => (window.clicks = (window.clicks ?? 0) + 1)), true)`)
	c.press("Send again") // leads to the page
	c.says("2,400 events would be sent again.")
	c.js(fieldsOfOutage(began))
	c.press("Send again") // the act
	c.js(`document.querySelector('.running progress')?.max === 2400 && document.querySelector('.running').innerText.includes('of 2,400 sent again')`)
	watched()
	c.says("Done", "2,400 of 2,400 sent again")
	c.js(`!document.querySelector('.running') && window.clicks === 2`)
	c.awaits("acc", "HEALTHY", 0)
	c.wantClean()
	wantOutageOnce(t, to)
}

// seedOutage makes a database with an account that has had the outage, and with one event that
// was given up a day before. It returns when the outage began.
func seedOutage(t *testing.T, db string, to *sink) (began time.Time) {
	t.Helper()
	began = time.Now().Add(-(outageHours + 2) * time.Hour)
	seedAccount(t, db, to, "acc", began.Add(-48*time.Hour), func(ctx context.Context, st *sqlite.Store) error {
		w, err := st.Webhook(ctx, "acc")
		err = errors.Join(err, failSome(ctx, st, "acc", outageEvents, outageEvents+1, began.Add(-24*time.Hour)))
		for h := 0; h < outageHours && err == nil; h++ {
			err = failSome(ctx, st, "acc", h*outageHourly, (h+1)*outageHourly, began.Add(time.Duration(h)*time.Hour))
		}
		change := store.HealthChange{AccountID: "acc", WebhookID: w.ID, Version: w.Version}
		failing, probing, healthy := change, change, change
		failing.To, failing.At, failing.Error, failing.StatusCode = store.HealthFailing, began.Add(time.Minute), store.HTTPStatus, http.StatusInternalServerError
		probing.To, probing.At, probing.Error, probing.StatusCode = store.HealthProbing, began.Add(2*time.Minute), store.HTTPStatus, http.StatusInternalServerError
		healthy.To, healthy.At = store.HealthHealthy, began.Add(outageHours*time.Hour)
		return errors.Join(err, st.RecordHealth(ctx, []store.HealthChange{failing, probing, healthy}))
	})
	return began
}

// fieldsOfOutage is whether the fields of the page have the outage, and not a day before it.
func fieldsOfOutage(began time.Time) string {
	from := began.UnixMilli()
	return fmt.Sprintf(`(() => {
		const [from, to] = [...document.querySelectorAll('.window input')].map(field => Date.parse(field.value))
		return from <= %d && from > %d && to >= %d
	})()`, from, from-(12*time.Hour).Milliseconds(), from+(outageHours*time.Hour).Milliseconds())
}

// choosesOutage: the band chooses the outage as a whole, though it shows a day of it.
func (c *console) choosesOutage(began time.Time) {
	c.t.Helper()
	c.show("acc", "en", "/replay")
	c.js(`(document.querySelector('.band .bad a').click(), true)`)
	c.js(`location.hash.includes('from=')`)
	c.says("2,400 events would be sent again.")
	c.js(fieldsOfOutage(began))
}

// hold lets the sink answer nothing until what it returns is called.
func (s *sink) hold(t *testing.T) (release func()) {
	held := make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(_ string, w http.ResponseWriter, _ *http.Request) {
		<-held
		w.WriteHeader(http.StatusNoContent)
	}
	return release
}

// wantOutageOnce fails the test unless each event of the outage has come once, signed, as its
// second attempt, and none but the new one beside them.
func wantOutageOnce(t *testing.T, to *sink) {
	t.Helper()
	times := map[string]int{}
	for _, a := range to.of("acc") {
		times[a.ID]++
		if a.Verified != nil || a.ID != "new" && a.Attempt != "2" {
			t.Errorf("%s came as attempt %s, with signature %v; want its second attempt", a.ID, a.Attempt, a.Verified)
		}
	}
	for i := range outageEvents {
		if n := times[oldID(i)]; n != 1 {
			t.Errorf("%s came %d times, want 1", oldID(i), n)
		}
	}
	if len(times) != outageEvents+1 {
		t.Errorf("%d events came, want %d of the outage and the new one", len(times), outageEvents)
	}
}
