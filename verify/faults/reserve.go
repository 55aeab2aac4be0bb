package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// manual is where the operator reads what to do, and dataDir where the manual
// keeps the database.
const (
	manual  = "docs/recovery.md"
	dataDir = "/var/lib/recapito"
)

// The two commands of the manual.
var (
	makeReserve   = regexp.MustCompile("`(fallocate -l [^`]+)`")
	removeReserve = regexp.MustCompile("`(rm [^`]+)`")
)

const (
	reserveAccounts = 40
	reserveEvents   = 400 // of each kind
)

// diskForGood: nothing frees the disk but the reserve that the manual tells the
// operator to keep.
func diskForGood(l *lab) (found string, err error) {
	small, err := l.image("ext4", 192)
	if err != nil {
		return "", err
	}
	s, err := l.site(rig.Options{Dir: small.dir})
	if err != nil {
		return "", err
	}
	s.ended = append(s.ended, small.remove)
	defer func() { err = s.end(err) }()
	if err := s.serve(); err != nil {
		return "", err
	}
	// The first two have had events and are to go; every second one of the others
	// is not there for now.
	behaviour := []string{rig.OK, rig.Gate}
	keys, err := s.service.RegisterAll(0, reserveAccounts, func(i int) string {
		if i < 2 {
			return s.sink.Endpoint(rig.OK, i)
		}
		return s.sink.Endpoint(behaviour[i%2], i)
	})
	if err != nil {
		return "", err
	}
	if err := (rig.Feed{Events: reserveEvents, Batch: 20, Clients: 2, Accounts: 2}).Run(s.service); err != nil {
		return "", err
	}
	if err := s.settle(reserveEvents, time.Minute); err != nil {
		return "", err
	}
	waiting := rig.Feed{From: reserveEvents, Events: reserveEvents, Batch: 20, Clients: 2, Accounts: reserveAccounts - 2,
		Account: func(i int) string { return rig.Account(i + 2) }}
	if err := waiting.Run(s.service); err != nil {
		return "", err
	}
	if err := small.obey(makeReserve); err != nil {
		return "", err
	}
	waiting.From, waiting.PerSecond = 2*reserveEvents, 500
	load := s.load(waiting)
	filler, err := os.Create(filepath.Join(small.dir, "filler"))
	if err != nil {
		return "", err
	}
	defer func() { _ = filler.Close() }()
	if err := s.full(load, filler); err != nil {
		return "", err
	}
	removals := []removal{
		{"/webhooks/delivery-status", keys[0]}, {"/accounts/" + rig.Account(1), "Bearer " + rig.PlatformKey},
	}
	for _, r := range removals {
		status, err := s.remove(r)
		if err == nil && status != http.StatusInternalServerError {
			err = fmt.Errorf("got %d, want 500", status)
		}
		if err != nil {
			return "", fmt.Errorf("DELETE %s with a full disk: %w", r.path, err)
		}
	}
	waits := s.metric("recapito_backlog")
	if err := small.obey(removeReserve); err != nil {
		return "", err
	}
	removed := time.Now()
	for _, r := range removals {
		var status int
		if err := rig.Await(time.Minute, "", func() bool {
			status, err = s.remove(r)
			return status == http.StatusNoContent
		}); err != nil {
			return "", fmt.Errorf("DELETE %s without the reserve: %d, want 204", r.path, status)
		}
	}
	took := time.Since(removed)
	s.erased = reserveEvents / 2
	if err := errors.Join(s.unharmed(load), s.sink.OpenGate(true)); err != nil {
		return "", err
	}
	n, err := load.end()
	if err != nil {
		return "", err
	}
	n += 2 * reserveEvents
	if err := s.service.Stop(); err != nil {
		return "", fmt.Errorf("stopping: %w", err)
	}
	if err := s.serve(); err != nil {
		return "", fmt.Errorf("starting again: %w", err)
	}
	if err := s.settle(n, 2*time.Minute); err != nil {
		return "", err
	}
	if err := s.once(); err != nil {
		return "", err
	}
	return fmt.Sprintf("full for good: events 503 and DELETE 500; the reserve removed, both DELETE 204 after %v, started again, %d events, 0 lost, %.0f of them had waited", took.Round(time.Millisecond), n, waits), nil
}

// obey does what the manual says.
func (im *image) obey(what *regexp.Regexp) error {
	text, err := os.ReadFile(manual)
	if err != nil {
		return err
	}
	said := what.FindSubmatch(text)
	if said == nil {
		return fmt.Errorf("%s does not say %v", manual, what)
	}
	return command("sh", "-c", strings.ReplaceAll(string(said[1]), dataDir, im.dir))
}

// full fills the disk until events are refused.
func (s *site) full(load *load, filler *os.File) error {
	refused := load.refused.Load()
	return rig.Await(time.Minute, "events to be refused", func() bool {
		occupy(filler)
		return load.refused.Load() > refused
	})
}

// removal is what an operator can free through the API.
type removal struct{ path, credential string }

func (s *site) remove(r removal) (status int, err error) {
	status, _, err = s.service.Call("DELETE", r.path, r.credential, nil)
	return status, err
}
