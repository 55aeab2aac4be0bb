package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// consolePages are the pages, each with what it has to say.
var consolePages = []struct{ name, account, at, english, italian string }{
	{"signin", nobody, "/status", "See what became of your callbacks", "Guarda che fine hanno fatto i tuoi callback"},
	{"status", "well", "/status", "All is well.", "Va tutto bene."},
	{"ill", "ill", "/status", "your server failed with 503", "il tuo server ha fallito con 503"},
	{"callbacks", "ill", "/callbacks", "own-ill-3", "own-ill-3"},
	{"why", "ill", "/callbacks?event=ill-0", "Attempt 1", "Tentativo 1"},
	{"setup", "well", "/setup", "Verify code", "Codice di verifica"},
	{"replay", "ended", "/replay", "2 events would be sent again.", "2 eventi verrebbero inviati di nuovo."},
	{"first", "empty", "/status", "Receive your first callback", "Ricevi il tuo primo callback"},
	{"now", "", "/now", "No event of a healthy endpoint waits for its turn.", "Nessun evento di un endpoint in salute attende il suo turno."},
	{"accounts", "", "/accounts", "ended", "ended"},
	{"errors", "", "/errors", "They share a host", "Hanno lo stesso host"},
	{"replays", "", "/replays", "Yes, of all accounts", "Sì, di tutti gli account"},
}

// walkPages: each page, in each language, in light and dark, on a phone and wide,
// fits the window, is easy to read, complains of nothing and asks nobody else. With
// -artifacts the pictures are kept:
// go test -run Console -artifacts -outputdir DIR ./verify/e2e
func walkPages(t *testing.T, bin string) {
	c := newConsole(t, bin)
	for _, lang := range []string{"en", "it"} {
		for _, p := range consolePages {
			c.t = t
			c.show(p.account, lang, p.at)
			c.says(map[string]string{"en": p.english, "it": p.italian}[lang])
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int64{1280, 390} {
					name := fmt.Sprintf("%s-%s-%s-%d", p.name, lang, scheme, width)
					t.Run(name, func(t *testing.T) {
						c.t = t
						c.prefer(scheme)
						c.do("set the width", chromedp.EmulateViewport(width, 900))
						c.wantFit()
						c.wantContrast()
						shown := c.picture("console-" + name + ".png")
						brightness, _, _, _ := shown.At(4, 880).RGBA()
						if !strings.HasPrefix(name, "why") && (scheme == "light" && brightness < 0xe000 || scheme == "dark" && brightness > 0x3000) {
							t.Errorf("brightness of the page: %x, want it to be %s", brightness, scheme)
						}
						c.wantClean()
					})
				}
			}
		}
	}
}
