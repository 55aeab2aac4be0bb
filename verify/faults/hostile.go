package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const (
	healthyAccounts = 2000
	healthyRate     = 1000 // events/s, of all of them
	hostileRate     = 120  // likewise: each gets four times what a healthy one does
	// hostileRatio is the most by which the p99 of the healthy may grow. In the
	// short form there are too few events for a p99.
	hostileRatio = 1.2
	// hostileSlack is how long after its deadline an attempt may end.
	hostileSlack = 250 * time.Millisecond
)

// hostile: receivers that do everything wrong, at once, and what the others
// feel of them; and whether anything is left when they are gone.
func hostile(l *lab) (found string, err error) {
	h := &hostility{seed: 1, deadline: 10 * time.Second, phase: 20 * time.Second}
	if l.Short {
		h.deadline, h.phase = 5*time.Second, 3*time.Second
	}
	if h.site, err = l.site(rig.Options{Flags: []string{"--attempt-timeout", h.deadline.String()}}); err != nil {
		return "", err
	}
	defer func() { err = h.end(err) }()
	if h.crowd, err = rig.StartCrowd(h.sink.CA); err != nil {
		return "", err
	}
	h.ended = append(h.ended, func() error { h.crowd.Kill(); return nil })
	if err := h.serve(); err != nil {
		return "", err
	}
	if err := h.register(healthyAccounts, func(i int) string { return h.sink.Endpoint(rig.OK, i) }); err != nil {
		return "", err
	}
	if _, err := h.feed(false); err != nil { // connections, caches
		return "", err
	}
	before, err := h.service.Vitals()
	if err != nil {
		return "", err
	}
	rounds := l.rounds(5, 1)
	for i := range rounds {
		if err := h.round(); err != nil {
			return "", fmt.Errorf("round %d: %w", i+1, err)
		}
	}
	if err := h.once(); err != nil {
		return "", err
	}
	after, err := h.subside(before)
	found = fmt.Sprintf("%d receivers, %d rounds, 0 lost, 0 repeats; healthy p99 %v without and %v with them, median ratio %.2f; %d attempts at them, the longest %v of %v; then goroutines %d (%d before), RSS %d MiB (%d before)",
		len(h.crowd.Receivers), rounds, median(h.without), median(h.with), median(h.ratios), h.attempts, h.longest, h.deadline,
		after.Goroutines, before.Goroutines, after.RSS>>10, before.RSS>>10)
	switch {
	case err != nil:
	case median(h.ratios) > hostileRatio:
		err = l.late("the healthy ones' p99 grew by %.2f, more than %.1f", median(h.ratios), hostileRatio)
	case h.longest > h.deadline+hostileSlack:
		err = l.late("an attempt took %v", h.longest)
	}
	return found, err
}

// hostility is a site with hostile receivers, and what was seen of them.
type hostility struct {
	*site
	crowd           *rig.Crowd
	keys            []string // of the accounts whose receivers are hostile
	deadline, phase time.Duration
	fed, fedHostile int
	seed            uint64 // of the feed of the healthy, the same without the hostile and with them

	without, with []time.Duration // p99 of the healthy
	ratios        []float64
	attempts      int
	longest       time.Duration
}

func median[T float64 | time.Duration](of []T) T {
	s := slices.Sorted(slices.Values(of))
	return s[len(s)/2]
}

// round measures without the hostile receivers, then with them, then removes
// them.
func (h *hostility) round() error {
	h.seed += 2
	without, err := h.feed(false)
	if err != nil {
		return err
	}
	if err := h.hook(); err != nil {
		return err
	}
	with, err := h.feed(true)
	if err != nil {
		return err
	}
	h.without, h.with = append(h.without, without), append(h.with, with)
	h.ratios = append(h.ratios, float64(with)/float64(without))
	h.lab.detail("p99 without %v, with %v", without, with)
	return h.unhook()
}

// feed feeds for a phase, waits until all that goes to the healthy ones has
// arrived, and returns their p99.
func (h *hostility) feed(hostileToo bool) (time.Duration, error) {
	if err := h.sink.Clear(); err != nil {
		return 0, err
	}
	f := rig.Feed{From: h.fed, Events: int(h.phase.Seconds() * healthyRate), Batch: 20, Clients: 8, Accounts: healthyAccounts, PerSecond: healthyRate, Seed: h.seed}
	h.fed += f.Events
	var both sync.WaitGroup
	var hostileErr error
	if hostileToo {
		const apart = 1 << 30 // from the numbers that arrive at the sink
		g := rig.Feed{From: apart + h.fedHostile, Events: int(h.phase.Seconds() * hostileRate), Batch: 12, Clients: 2, PerSecond: hostileRate, Seed: h.seed + 1,
			Accounts: len(h.keys), Account: func(i int) string { return rig.Account(healthyAccounts + i) }}
		h.fedHostile += g.Events
		both.Go(func() { hostileErr = g.Run(h.service) })
	}
	err := f.Run(h.service)
	both.Wait()
	if err := errors.Join(err, hostileErr); err != nil {
		return 0, err
	}
	c, err := h.sink.AwaitUnique(f.Events, time.Minute)
	return c.P99, err
}

// hook registers the hostile receivers, the first time with their accounts.
func (h *hostility) hook() error {
	for i, r := range h.crowd.Receivers {
		if i == len(h.keys) {
			key, err := h.service.Register(rig.Account(healthyAccounts+i), r.URL)
			if err != nil {
				return err
			}
			h.keys = append(h.keys, key)
			continue
		}
		if code, answer, err := h.service.Call("POST", "/webhooks/delivery-status", h.keys[i], fmt.Appendf(nil, `{"callbackUrl":%q}`, r.URL)); code != http.StatusCreated {
			return fmt.Errorf("registering again: %d %s %w", code, answer, err)
		}
	}
	return nil
}

// unhook removes them, waits until the attempts under way have ended, and
// looks at how long each has taken.
func (h *hostility) unhook() error {
	for _, key := range h.keys {
		if code, answer, err := h.service.Call("DELETE", "/webhooks/delivery-status", key, nil); code != http.StatusNoContent {
			return fmt.Errorf("removing: %d %s %w", code, answer, err)
		}
	}
	if err := rig.Await(h.deadline+time.Second, "the attempts under way to end and be recorded", func() bool {
		m, err := h.service.Metrics()
		return err == nil && attempts(m) == 0 && m["recapito_unrecorded_outcomes"] == 0
	}); err != nil {
		return err
	}
	h.attempts = 0
	for i, r := range h.crowd.Receivers {
		kinds, err := h.inspect(h.keys[i])
		if err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		if len(kinds) == 0 {
			return fmt.Errorf("%s: was never attempted", r.Name)
		}
		h.lab.detail("%-40s %v", r.Name, kinds)
	}
	return nil
}

// inspect reads every attempt of an account's deliveries, and counts how they
// ended.
func (h *hostility) inspect(key string) (map[string]int, error) {
	kinds := map[string]int{}
	const path = "/webhooks/delivery-status/deliveries"
	for cursor := "?limit=100"; cursor != ""; {
		var page struct {
			Deliveries []struct {
				EventID      string
				AttemptCount int
			}
			NextCursor string
		}
		if err := h.read(path+cursor, key, &page); err != nil {
			return nil, err
		}
		for _, d := range page.Deliveries {
			if d.AttemptCount == 0 {
				continue
			}
			var one struct {
				Attempts []struct {
					DurationMs int64
					Error      string
					StatusCode int
				}
			}
			if err := h.read(path+"/"+d.EventID, key, &one); err != nil {
				return nil, err
			}
			for _, a := range one.Attempts {
				h.attempts++
				h.longest = max(h.longest, time.Duration(a.DurationMs)*time.Millisecond)
				kinds[fmt.Sprint(a.Error, a.StatusCode)]++
			}
		}
		if cursor = ""; page.NextCursor != "" {
			cursor = "?limit=100&cursor=" + page.NextCursor
		}
	}
	return kinds, nil
}

func (h *hostility) read(path, key string, into any) error {
	code, answer, err := h.service.Call("GET", path, key, nil)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("GET %s: %d %s", path, code, answer)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}
