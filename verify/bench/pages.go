package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/sqlite"
	"github.com/recapito/recapito/verify/rig"
)

const (
	liveRate  = 1000
	newest    = `(document.querySelector('.message .ids')?.innerText ?? '')`
	mostLooks = 60
	between   = 5 * time.Second // two looks, at least: the page asks every four
)

// livePage: the page Callbacks of an account, in a real browser, while events come for it.
func (l *lab) livePage() (err error) {
	r, err := l.begin()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	if err := r.register(1, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
		return err
	}
	stop := make(chan struct{})
	fed := make(chan error, 1)
	// More than are needed: the page says when it has seen enough.
	go func() {
		fed <- r.feed(rig.Feed{Events: liveRate * 60 * (l.Minutes + 10), Batch: 10, Clients: 8, Accounts: 1, PerSecond: liveRate, Stop: stop})
	}()
	var seen livePageFigures
	err = withConsole(r.service.URL, r.keys[0], "/callbacks", l.Hurry, func(b *browser) error {
		seen, err = b.watch(time.Duration(l.Minutes) * time.Minute)
		return err
	})
	close(stop)
	if err := errors.Join(err, <-fed); err != nil {
		return err
	}
	l.table(fmt.Sprintf("The page Callbacks in Chromium, %d minutes beside %d events/s of its account, its timers %d times as fast", l.Minutes, liveRate, l.Hurry), "what", "figure", "aim")
	l.row("JS heap after a collection, MiB, in each sixth", strings.Join(seen.sixths("%.2f"), ", "), "flat, when its code is compiled")
	l.row("elements of the page", seen.nodes.show("%.0f"), "")
	l.row("CPU of the browser's processes, % of a core", fmt.Sprintf("%.1f", 100*seen.cpu.Seconds()/seen.during.Seconds()), "< 10")
	l.row("the newest message was another one, of so many looks", fmt.Sprintf("%d of %d", seen.moved, len(seen.heap)), "all")
	return nil
}

type livePageFigures struct {
	heap, nodes figures
	moved       int // looks that saw another newest message than the look before
	cpu, during time.Duration
}

// sixths are the medians of the heap in each sixth of the time.
func (f *livePageFigures) sixths(format string) (shown []string) {
	for part := range slices.Chunk(f.heap, max(1, (len(f.heap)+5)/6)) {
		shown = append(shown, fmt.Sprintf(format, part.median()))
	}
	return shown
}

// watch looks at the page sixty times, or as often as there is time for; not until it has run
// for half a minute, or a tenth of the time if that is less.
func (b *browser) watch(all time.Duration) (f livePageFigures, err error) {
	if err := b.await(newest); err != nil {
		return f, err
	}
	time.Sleep(min(30*time.Second, all/10))
	before, err := b.cpu()
	if err != nil {
		return f, err
	}
	looks := min(mostLooks, int(all/between))
	begin, had := time.Now(), ""
	for i := range looks {
		time.Sleep(time.Until(begin.Add(all * time.Duration(i+1) / time.Duration(looks))))
		p, err := b.page()
		if err != nil {
			return f, err
		}
		f.heap, f.nodes = append(f.heap, p.heapMiB), append(f.nodes, p.nodes)
		has, err := b.text(newest)
		if err != nil {
			return f, err
		}
		if has != had {
			f.moved++
		}
		had = has
	}
	after, err := b.cpu()
	f.cpu, f.during = spent(before, after), time.Since(begin)
	if err == nil && f.moved < looks/2 {
		err = fmt.Errorf("%d of %d looks saw another newest message, want most: the page is not live", f.moved, looks)
	}
	return f, err
}

// The pages that are turned from the newest on, and from the middle of the history on.
const turns = 100

// longList: the page Callbacks of an account with a long history is turned, page by page.
func (l *lab) longList() (err error) {
	r, err := l.prepare()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	now := time.Now()
	if err := r.seed(func(ctx context.Context, st *sqlite.Store) error {
		if err := seedAccounts(ctx, st, 1, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
			return err
		}
		return seedHistory(ctx, st, 0, l.History, 1, now.Add(-historyAge), now, store.Outcome{State: store.Delivered,
			Attempt: &store.Attempt{Number: 1, Duration: 20 * time.Millisecond, StatusCode: 204}})
	}); err != nil {
		return err
	}
	if err := r.serve(); err != nil {
		return err
	}
	middle := "/callbacks?from=1970-01-02T00:00:00Z&to=" + now.Add(-historyAge/2).UTC().Format(time.RFC3339)
	l.table(fmt.Sprintf("The page Callbacks in Chromium, scrolled on %d times, with a history of %d deliveries of its account", turns, l.History),
		"from", "until the next page is drawn p50, ms", "p99, ms", "most, ms", "JS heap after a tenth of them, MiB", "after all", "elements after a tenth of them", "after all")
	for _, from := range []struct{ name, at string }{{"the newest", "/callbacks"}, {"the middle", middle}} {
		err := withConsole(r.service.URL, seedKey(0), from.at, 1, func(b *browser) error {
			took, first, last, err := b.turn(turns)
			if err != nil {
				return err
			}
			p50, p99, most := rig.Quantiles(took)
			l.row(from.name, fmt.Sprintf("%.0f", millis(p50)), fmt.Sprintf("%.0f", millis(p99)), fmt.Sprintf("%.0f", millis(most)),
				fmt.Sprintf("%.2f", first.heapMiB), fmt.Sprintf("%.2f", last.heapMiB), fmt.Sprintf("%.0f", first.nodes), fmt.Sprintf("%.0f", last.nodes))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// turn scrolls the list to the end of what is there n times. The page itself takes the time: from
// there to the frame in which an older page is drawn. It is looked at after a tenth of the
// turns, when it holds what it keeps of the pages before, and after all.
func (b *browser) turn(n int) (took []time.Duration, first, last page, err error) {
	const oldest = `Number([...document.querySelectorAll('.message')].at(-1)?.dataset.page ?? -1)`
	if err := b.await(newest); err != nil {
		return nil, first, last, err
	}
	for i := range n {
		if i == n/10 {
			if first, err = b.page(); err != nil {
				return nil, first, last, err
			}
		}
		more, err := b.number(`[...document.querySelectorAll('.pager button')].filter(b => b.innerText.includes('Older')).length`)
		if err != nil || more == 0 {
			return nil, first, last, errors.Join(err, fmt.Errorf("the list ends after %d pages, want more than %d", len(took)+1, n))
		}
		if err := b.await(`((oldest, begin) => {
			window.turned = 0
			const drawn = () => {
				if (` + oldest + ` <= oldest) return requestAnimationFrame(drawn)
				window.turned = performance.now() - begin
			}
			scrollTo(0, document.documentElement.scrollHeight)
			requestAnimationFrame(drawn)
			return true
		})(` + oldest + `, performance.now())`); err != nil {
			return nil, first, last, err
		}
		if err := b.await("window.turned > 0"); err != nil {
			return nil, first, last, err
		}
		ms, err := b.number("window.turned")
		if err != nil {
			return nil, first, last, err
		}
		took = append(took, time.Duration(ms*float64(time.Millisecond)))
	}
	last, err = b.page()
	return slices.Clip(took), first, last, err
}
