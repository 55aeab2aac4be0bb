package e2e

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// TestConsoleInFrames: a page of an origin that --console-frame-ancestors names shows the console
// in a frame, where a link signs in. The browser refuses that to a page of another origin, and to
// each if none is named.
func TestConsoleInFrames(t *testing.T) {
	bin := build(t, false)
	site := func() string { // of a platform
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, `<!doctype html><link rel="icon" href="data:,"><iframe src="`+html.EscapeString(r.FormValue("frame"))+`"></iframe>`)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	first, second, other := site(), site(), site()
	for _, tt := range []struct {
		name           string
		flags          []string
		policy         string
		shown, refused []string
	}{
		{"two origins", []string{"--console-frame-ancestors", first, "--console-frame-ancestors", second}, first + " " + second, []string{first, second}, []string{other}},
		{"none", nil, "'none'", nil, []string{first, other}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			svc := serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"), tt.flags...)
			svc.account("acc")
			resp, err := http.Get(svc.url + "/console")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := resp.Header.Get("Content-Security-Policy"); !slices.Contains(strings.Split(got, "; "), "frame-ancestors "+tt.policy) {
				t.Errorf("the policy of the page is %q, want frame-ancestors %s", got, tt.policy)
			}
			b := newBrowser(t)
			frames := func(origin string) {
				t.Helper()
				code, answer := svc.api("POST", "/accounts/acc/console-links", bearer, "")
				if code != http.StatusCreated {
					t.Fatalf("make a link: %d %s", code, answer)
				}
				link := svc.url + strings.Replace(field(t, answer, "path"), "#", "?lang=en#", 1)
				b.do("open the platform's page", chromedp.Navigate(origin+"/?frame="+url.QueryEscape(link)))
			}
			for _, origin := range tt.shown {
				frames(origin)
				eventually(t, "the console in a frame of "+origin, func() bool { return strings.Contains(b.inFrame(), "Receive your first callback") })
				b.wantNoRefusal()
			}
			for _, origin := range tt.refused {
				frames(origin)
				eventually(t, "a frame of "+origin+" to be refused", func() bool { return len(b.refusals()) > 0 })
				if text := b.inFrame(); strings.Contains(text, "Recapito") {
					t.Errorf("a page of %s shows in its frame: %q", origin, text)
				}
			}
		})
	}
}

// inFrame is what the one frame of the page says.
func (b *browser) inFrame() string {
	b.t.Helper()
	tree, err := chromedp.Call(b.ctx, page.GetFrameTree, struct{}{})
	if err != nil || len(tree.FrameTree.ChildFrames) != 1 {
		return ""
	}
	world, err := chromedp.Call(b.ctx, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: tree.FrameTree.ChildFrames[0].Frame.ID})
	if err != nil {
		return "" // it is being loaded
	}
	said, err := chromedp.Call(b.ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: "document.body?.innerText ?? ''", ContextID: world.ExecutionContextID})
	if err != nil || said.ExceptionDetails != nil {
		return ""
	}
	var text string
	if err := json.Unmarshal(said.Result.Value, &text); err != nil {
		b.t.Fatalf("the frame says %s: %v", said.Result.Value, err)
	}
	return text
}

// refusals are the complaints of the browser about frames, each told once.
func (b *browser) refusals() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, complaint := range b.complaints {
		if strings.Contains(complaint, "frame-ancestors") {
			all = append(all, complaint)
		}
	}
	b.complaints = nil
	return all
}

func (b *browser) wantNoRefusal() {
	b.t.Helper()
	if all := b.refusals(); len(all) > 0 {
		b.t.Errorf("the browser refuses %q, want the frame to be shown", all)
	}
}
