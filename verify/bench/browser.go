package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/chromedp/cdproto/heapprofiler"
	devtools "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/systeminfo"
	"github.com/chromedp/chromedp"
)

// browser is a headless Chromium with a page of the console.
type browser struct{ ctx context.Context }

// withConsole opens the console of an account at a page, whose timers run hurry times as fast,
// and closes it when do has returned.
func withConsole(service, key, at string, hurry int, do func(*browser) error) error {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.WindowSize(1280, 900))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox is not for root
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	ctx, stop = chromedp.NewContext(ctx)
	defer stop()
	b := &browser{ctx}
	if _, err := chromedp.Call(ctx, performance.Enable, performance.EnableParams{}); err != nil {
		return fmt.Errorf("start Chromium: %w (make tools installs it)", err)
	}
	session, err := json.Marshal(map[string]string{"as": "account", "key": key})
	if err != nil {
		return err
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(service+"/livez")); err != nil {
		return err
	}
	if err := b.await(fmt.Sprintf(`(sessionStorage.setItem('recapito', %q), true)`, session)); err != nil {
		return err
	}
	hurried := fmt.Sprintf("{ const real = setInterval; window.setInterval = (f, ms) => real(f, ms / %d) }", hurry)
	if _, err := chromedp.Call(ctx, devtools.AddScriptToEvaluateOnNewDocument, devtools.AddScriptToEvaluateOnNewDocumentParams{Source: hurried}); err != nil {
		return err
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(service+"/console?lang=en#"+at)); err != nil {
		return err
	}
	return do(b)
}

// await waits until an expression is true.
func (b *browser) await(expression string) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean(("+expression+"))"))
		if err != nil || is {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited a minute in vain for %s", expression)
		}
	}
}

// number is what an expression says.
func (b *browser) number(expression string) (float64, error) {
	return chromedp.Run(b.ctx, chromedp.Evaluate[float64](expression))
}

func (b *browser) text(expression string) (string, error) {
	return chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
}

// page is what the page takes, after a collection of garbage.
type page struct{ heapMiB, nodes float64 }

func (b *browser) page() (p page, err error) {
	if _, err := chromedp.Call(b.ctx, heapprofiler.CollectGarbage, struct{}{}); err != nil {
		return p, err
	}
	got, err := chromedp.Call(b.ctx, performance.GetMetrics, struct{}{})
	if err != nil {
		return p, err
	}
	for _, m := range got.Metrics {
		switch m.Name {
		case "JSHeapUsedSize":
			p.heapMiB = m.Value / (1 << 20)
		case "Nodes":
			p.nodes = m.Value
		}
	}
	return p, nil
}

// cpu is the time that each process of the browser has computed.
func (b *browser) cpu() (map[int64]time.Duration, error) {
	got, err := chromedp.CallBrowser(b.ctx, systeminfo.GetProcessInfo, struct{}{})
	if err != nil {
		return nil, err
	}
	all := map[int64]time.Duration{}
	for _, p := range got.ProcessInfo {
		all[p.ID] = time.Duration(p.CPUTime * float64(time.Second))
	}
	return all, nil
}

// spent is what has been computed between two readings; what a process that has ended did
// since the first one is not known.
func spent(before, after map[int64]time.Duration) (sum time.Duration) {
	for id, cpu := range after {
		sum += cpu - before[id]
	}
	return sum
}
