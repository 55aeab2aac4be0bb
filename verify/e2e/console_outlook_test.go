package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestConsoleOutlook: of an endpoint that fails, the page says what waits, and when each event of
// that and the oldest one are given up; of one that is well it says what waits alone.
func TestConsoleOutlook(t *testing.T) {
	c := newFixedConsole(t, build(t, false), "answers.json", "even.js")
	const now, soon, days, hour = "2026-11-20T12:00:00Z", "2026-11-20T12:02:00Z", "2026-11-23T11:31:00Z", "2026-11-20T12:31:00Z"
	for _, tt := range []struct {
		name, state   string
		pending       int
		next, givenUp string
		en, it        string
	}{
		{"many", "PROBING", 1250, soon, days,
			"Next try in 2 min. 1250 events wait, the oldest for 29 min; none is lost. If nothing changes, each is given up after 3 d at the latest, the oldest by Mon 12:31.",
			"Prossimo tentativo tra 2 min. 1250 eventi attendono, il più vecchio da 29 min; nessuno è perso. Se nulla cambia, ciascuno viene abbandonato al più tardi dopo 3 d, il più vecchio entro Mon 12:31."},
		{"one", "SUSPENDED", 1, "", days,
			"1 event waits, for 29 min; it is not lost. If nothing changes, it is given up by Mon 12:31.",
			"1 evento attende da 29 min; non è perso. Se nulla cambia, viene abbandonato entro Mon 12:31."},
		{"soon", "FAILING", 2, soon, hour,
			"Next try in 2 min. 2 events wait, the oldest for 29 min; none is lost. If nothing changes, each is given up after 1 h at the latest, the oldest by 13:31.",
			"Prossimo tentativo tra 2 min. 2 eventi attendono, il più vecchio da 29 min; nessuno è perso. Se nulla cambia, ciascuno viene abbandonato al più tardi dopo 1 h, il più vecchio entro 13:31."},
		{"well", "HEALTHY", 2, soon, days, "2 events wait, the oldest for 29 min; none is lost.", "2 eventi attendono, il più vecchio da 29 min; nessuno è perso."},
	} {
		h := map[string]any{"state": tt.state, "pending": tt.pending, "oldestPendingAt": "2026-11-20T11:31:00Z", "firstGivenUpAt": tt.givenUp, "skipped": 0}
		if tt.next != "" {
			h["nextAttemptAt"] = tt.next
		}
		given, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		for lang, want := range map[string]string{"en": tt.en, "it": tt.it} {
			t.Run(tt.name+" "+lang, func(t *testing.T) {
				c.t = t
				c.show(nobody, lang, "/status")
				got, err := chromedp.Run(c.ctx, chromedp.Evaluate[string](fmt.Sprintf(`import(new URL('why.js', document.querySelector('script[type=module]').src))
					.then(m => m.outlook(%s, Date.parse('%s')))`, given, now), chromedp.EvalAwaitPromise))
				if err != nil || got != want {
					t.Errorf("got %q (%v)\nwant %q", got, err, want)
				}
			})
		}
	}
}
