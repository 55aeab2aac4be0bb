package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	_ "image/png"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/getkin/kin-openapi/openapi3"
)

// browser is a tab of a headless Chromium that notes what a page asks for and
// complains about.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	requests   []string
	answers    []string // "201 URL"
	complaints []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.WindowSize(1440, 1000))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox is not for root
	}
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(stop)
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatalf("start Chromium: %v (make tools installs it)", err)
	}
	return b
}

// note is called in the order of the events.
func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *network.EventResponseReceived:
		b.answers = append(b.answers, fmt.Sprint(e.Response.Status, " ", e.Response.URL))
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			b.complaints = append(b.complaints, fmt.Sprintf("console: %s %s", e.Type, e.Args[0].Value))
		}
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, "exception: "+e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.complaints = append(b.complaints, fmt.Sprintf("log: %s %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	}
}

func (b *browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v; complaints: %q", what, err, b.complaints)
	}
}

// open shows a page and waits until the reference is there.
func (b *browser) open(address string) {
	b.t.Helper()
	b.do("open "+address, chromedp.Navigate(address), chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "Recapito")]`)))
}

// sees waits until the element with that id holds the texts, scrolling to it:
// the page renders what is in view.
func (b *browser) sees(id string, texts ...string) {
	b.t.Helper()
	wanted, err := json.Marshal(texts)
	if err != nil {
		b.t.Fatal(err)
	}
	expression := fmt.Sprintf(`(() => {
		const e = [...document.querySelectorAll('[id$=' + CSS.escape(%q) + ']')].pop()
		e?.scrollIntoView()
		return e !== undefined && %s.every(text => e.innerText.includes(text))
	})()`, id, wanted)
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(time.Minute))); err != nil {
		b.t.Errorf("%s does not show all of %q: %v", id, texts, err)
	}
}

// click clicks the button that holds the text.
func (b *browser) click(within, text string) {
	b.t.Helper()
	expression := fmt.Sprintf(`(() => {
		const button = [...document.querySelectorAll(%q)].find(e => e.textContent.includes(%q))
		button?.click()
		return button !== undefined
	})()`, within+" button", text)
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(time.Minute))); err != nil {
		b.t.Fatalf("no button %q to click: %v", text, err)
	}
}

// wantQuiet fails the test if the page complained or asked anybody but the
// service.
func (b *browser) wantQuiet(origin string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.complaints) > 0 {
		b.t.Errorf("the page complains: %q", b.complaints)
	}
	for _, r := range b.requests {
		u, err := url.Parse(r)
		if err != nil || u.Scheme != "data" && u.Scheme != "blob" && !strings.HasPrefix(r, origin+"/") {
			b.t.Errorf("the page asks for %s, want nothing but %s", r, origin)
		}
	}
}

// sectionOf is the id under which Scalar shows an operation.
func sectionOf(tag, method, path string) string {
	return fmt.Sprintf("tag/%s/%s%s", strings.ToLower(tag), method, path)
}

func loadSpec(t *testing.T, file string) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// The page shows every operation and the callback, in both languages, and
// calls the service: all from the binary, under the page's own policy.
func TestDocsPage(t *testing.T) {
	bin := build(t, false)
	for _, tt := range []struct{ name, base, lang, spec, responses string }{
		{"english", "", "", "openapi.yaml", "Responses"},
		{"italian below a base path", "/api/partner-gateway/v1", "?lang=it", "gen/openapi.it.yaml", "Risposte"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			svc := serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"), "--base-path", tt.base)
			origin := svc.url
			svc.url += tt.base
			key := svc.account("acc")
			b := newBrowser(t)
			b.open(svc.url + "/docs" + tt.lang)
			doc := loadSpec(t, tt.spec)
			for path, item := range doc.Paths.Map() {
				for method, op := range item.Operations() {
					credential := "X-API-Key"
					if _, ok := (*op.Security)[0]["PlatformKey"]; ok {
						credential = "Bearer"
					}
					b.sees(sectionOf(op.Tags[0], method, path), op.Summary, tt.responses, credential)
				}
			}
			b.seesCallback(doc)
			b.lists(key)
			b.wantQuiet(origin)
			b.open(svc.url + "/docs" + tt.lang)
			b.registers(key)
			b.wantQuiet(origin)
			b.wantCreated(svc, key)
		})
	}
}

const (
	createWebhook = "tag/webhooks/POST" + hook
	receiveEvent  = "tag/receiving/webhook/POST/statusevent"
)

// seesCallback wants the section about receiving to hold the callback's
// description, headers and every example; there is nothing to try in it.
func (b *browser) seesCallback(doc *openapi3.T) {
	b.t.Helper()
	callback := doc.Paths.Value(hook).Post.Callbacks["statusEvent"].Value.Value("{$request.body#/callbackUrl}").Post
	texts := []string{callback.Summary, "new Webhook(signingSecret)"}
	for line := range strings.Lines(callback.Description) {
		if heading, ok := strings.CutPrefix(line, "### "); ok {
			texts = append(texts, strings.TrimSpace(heading))
		}
	}
	for _, p := range callback.Parameters {
		texts = append(texts, p.Value.Name)
	}
	for status := range callback.Responses.Map() {
		texts = append(texts, strings.ToUpper(status))
	}
	b.sees("tag/receiving", doc.Tags.Get("Receiving").Extensions["x-displayName"].(string), "statusRank")
	b.sees(receiveEvent, texts...)
	b.seesExamples(callback.RequestBody.Value.Content["application/json"].Examples)
	if n, err := chromedp.Run(b.ctx, chromedp.Evaluate[int](`[...document.querySelectorAll('[id$="`+receiveEvent+`"] .show-api-client-button')].filter(e => e.checkVisibility()).length`)); err != nil || n > 0 {
		b.t.Errorf("%d buttons to try the callback, %v; want none", n, err)
	}
}

// seesExamples chooses each example of the callback and wants it shown.
func (b *browser) seesExamples(examples openapi3.Examples) {
	b.t.Helper()
	shown := "smsDelivered"
	for name, example := range examples {
		b.click("[id$='"+receiveEvent+"']", shown)
		b.choose(name)
		b.sees(receiveEvent, fmt.Sprintf("%q", example.Value.Value.(map[string]any)["eventId"]))
		shown = name
	}
}

// choose chooses from a list that is open.
func (b *browser) choose(text string) {
	b.t.Helper()
	expression := fmt.Sprintf(`(() => {
		const option = [...document.querySelectorAll('[role=option]')].find(e => e.textContent.trim() === %q)
		option?.click()
		return option !== undefined
	})()`, text)
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(time.Minute))); err != nil {
		b.t.Fatalf("no option %q to choose: %v", text, err)
	}
}

// lists asks for the deliveries with the page's own form as it is: without the
// filters, whose examples match nothing.
func (b *browser) lists(key string) {
	b.t.Helper()
	const path = hook + "/deliveries"
	b.sees(sectionOf("Deliveries", "GET", path), "nextCursor")
	b.click("body", "(get "+path+")")
	b.enter("[role=dialog] input.scalar-password-input", key)
	if got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector("[role=dialog] input.scalar-password-input").placeholder`)); err != nil || got != "rcp_…" {
		b.t.Errorf("the key's field: got %q, %v; want rcp_…", got, err)
	}
	b.click("[role=dialog]", "Send get request")
	b.wantAnswer("200", path)
}

// registers registers a callback URL with the page's own form.
func (b *browser) registers(key string) {
	b.t.Helper()
	b.sees(createWebhook, "callbackUrl")
	b.click("body", "(post "+hook+")")
	b.enter("[role=dialog] input.scalar-password-input", key)
	b.click("[role=dialog]", "Send post request")
	b.wantAnswer("201", hook)
}

// enter puts a text into a field, as from the clipboard.
func (b *browser) enter(field, text string) {
	b.t.Helper()
	b.do("focus "+field, chromedp.Focus(chromedp.CSS(field)))
	if _, err := chromedp.Call(b.ctx, input.InsertText, input.InsertTextParams{Text: text}); err != nil {
		b.t.Fatal(err)
	}
}

// wantAnswer waits for the answer of a request whose address ends so, query
// included.
func (b *browser) wantAnswer(status, end string) {
	b.t.Helper()
	eventually(b.t, status+" of "+end, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.ContainsFunc(b.answers, func(a string) bool { return strings.HasPrefix(a, status+" ") && strings.HasSuffix(a, end) })
	})
}

// wantCreated fails the test unless the page got a 201 and the webhook is
// there.
func (b *browser) wantCreated(svc *service, key string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if want := "201 " + svc.url + hook; !slices.Contains(b.answers, want) {
		b.t.Errorf("answers %q, want %q among them", b.answers, want)
	}
	code, answer := svc.api("GET", hook, key, "")
	var w struct{ CallbackURL string }
	if err := json.Unmarshal(answer, &w); code != 200 || err != nil || w.CallbackURL != "https://example.com/hooks/delivery-status" {
		b.t.Errorf("GET %s: %d %s, want the webhook of the example", hook, code, answer)
	}
}

// The page follows the reader's colour scheme and fits the window. With
// -artifacts the pictures are kept:
// go test -run Screenshots -artifacts -outputdir DIR ./verify/e2e
func TestDocsScreenshots(t *testing.T) {
	svc := serve(t, build(t, false), filepath.Join(t.TempDir(), "recapito.db"))
	b := newBrowser(t)
	for _, tt := range []struct {
		name, scheme, lang, responses string
		width                         int64
	}{
		{"light", "light", "", "Responses", 1440},
		{"dark", "dark", "", "Responses", 1440},
		{"italian", "light", "?lang=it", "Risposte", 1440},
		{"phone", "dark", "", "Responses", 390},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			prefer := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: tt.scheme}}}
			if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, prefer); err != nil {
				t.Fatal(err)
			}
			b.do("set the width", chromedp.EmulateViewport(tt.width, 900))
			b.open(svc.url + "/docs" + tt.lang)
			for _, section := range []string{createWebhook, receiveEvent} {
				b.sees(section, tt.responses)
				b.wantFit()
				b.wantContrast()
			}
			shown := b.picture("docs-" + tt.name + ".png")
			brightness, _, _, _ := shown.At(4, 4).RGBA()
			if tt.scheme == "light" && brightness < 0xe000 || tt.scheme == "dark" && brightness > 0x3000 {
				t.Errorf("brightness of the page: %x, want it to be %s", brightness, tt.scheme)
			}
			b.wantQuiet(svc.url)
		})
	}
}

// wantFit fails the test if the page is wider than the window.
func (b *browser) wantFit() {
	b.t.Helper()
	const beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
	if pixels, err := chromedp.Run(b.ctx, chromedp.Evaluate[int](beyond)); err != nil || pixels > 0 {
		b.t.Errorf("the page is %d pixels wider than the window, %v; want it to fit", pixels, err)
	}
}

// faint lists the texts in the window whose contrast with what is behind them is
// below 4.5:1 (WCAG 2.2, 1.4.3), each once.
const faint = `(() => {
	const parse = text => {
		const [r, g, b, a = 1] = text.replace('display-p3', '').match(/[\d.]+(?=[,\s)/])/g).map(Number)
		return text.startsWith('rgb') ? [r, g, b, a] : [r * 255, g * 255, b * 255, a]
	}
	const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]))
	const behind = e => {
		if (!e) return [255, 255, 255]
		const own = parse(getComputedStyle(e).backgroundColor)
		return own[3] === 1 ? own : over(own, behind(e.parentElement))
	}
	const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0.05)
	const found = new Set()
	for (const e of document.querySelectorAll('body *')) {
		const text = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent.trim()).join('')
		const box = e.getBoundingClientRect()
		if (!text || box.width < 2 || box.bottom < 0 || box.top > innerHeight || !e.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue
		const below = behind(e), a = light(over(parse(getComputedStyle(e).color), below)), b = light(below)
		const ratio = Math.max(a, b) / Math.min(a, b)
		if (ratio < 4.5) found.add(ratio.toFixed(2) + ' ' + getComputedStyle(e).color + ' ' + text.slice(0, 40))
	}
	return [...found]
})()`

// wantContrast fails the test if a text is too faint to read with ease.
func (b *browser) wantContrast() {
	b.t.Helper()
	if texts, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](faint)); err != nil || len(texts) > 0 {
		b.t.Errorf("%v; texts with a contrast below 4.5:1: %q", err, texts)
	}
}

func (b *browser) picture(name string) image.Image {
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), name), picture, 0o600); err != nil {
		b.t.Fatal(err)
	}
	shown, _, err := image.Decode(bytes.NewReader(picture))
	if err != nil {
		b.t.Fatal(err)
	}
	return shown
}
