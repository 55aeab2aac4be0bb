package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// acceptAfter is how soon events must be accepted again once a fault is over.
const acceptAfter = 2 * time.Second

// disk: the disk fills up under load, stays full, and is freed; then it fills up
// for good, and the operator's reserve is all the space there is.
func disk(l *lab) (string, error) {
	if err := needs("mkfs.ext4", "mount", "umount", "fallocate"); err != nil {
		return "", err
	}
	found, err := diskForAWhile(l)
	if err != nil {
		return found, err
	}
	reserved, err := diskForGood(l)
	return found + "; " + reserved, err
}

func diskForAWhile(l *lab) (found string, err error) {
	small, err := l.image("ext4", 512) // 20 times fill 100 MiB of it with events
	if err != nil {
		return "", err
	}
	s, err := l.site(rig.Options{Dir: small.dir, Flags: retrySoon})
	if err != nil {
		return "", err
	}
	s.ended = append(s.ended, small.remove)
	defer func() { err = s.end(err) }()
	if err := s.serve(); err != nil {
		return "", err
	}
	behaviour := []string{rig.Flaky, rig.Slow}
	if err := s.register(killAccounts, func(i int) string { return s.sink.Endpoint(behaviour[i%2], i) }); err != nil {
		return "", err
	}
	load := s.load(rig.Feed{Batch: killBatch, Clients: 8, Accounts: killAccounts, PerMessage: 3, PerSecond: 500})
	var f outage
	rounds := l.rounds(20, 2)
	for i := range rounds {
		time.Sleep(time.Second + rand.N(time.Second))
		if err := s.fill(load, filepath.Join(small.dir, "filler"), &f); err != nil {
			return "", fmt.Errorf("time %d: %w", i+1, err)
		}
	}
	n, err := s.finish(load)
	if err != nil {
		return "", err
	}
	if err := checkIntegrity(filepath.Join(small.dir, "recapito.db")); err != nil {
		return "", err
	}
	if err := s.once(); err != nil {
		return "", err
	}
	return fmt.Sprintf("full %d times, %d events, 0 lost, integrity clean; %d refusals, all 503 with Retry-After; up to %.0f outcomes waited, 0 repeats; accepting again at most %v after there was space",
		rounds, n, f.refusals, f.unrecorded, f.recovery.Round(time.Millisecond)), nil
}

// outage is what was observed during one or more times when the store could not
// write.
type outage struct {
	refusals   int64
	unrecorded float64       // outcomes that waited, at most
	recovery   time.Duration // at most
}

// fill fills the disk until events are refused, waits a while and frees it.
func (s *site) fill(load *load, filler string, o *outage) error {
	f, err := os.Create(filler)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	refused := load.refused.Load()
	if err := rig.Await(time.Minute, "events to be refused", func() bool {
		occupy(f)
		return load.refused.Load() > refused
	}); err != nil {
		return err
	}
	until := time.Now().Add(time.Second + rand.N(3*time.Second))
	for ; time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		occupy(f)
		o.unrecorded = max(o.unrecorded, s.metric("recapito_unrecorded_outcomes"))
	}
	return s.recover(load, o, func() error { return errors.Join(f.Close(), os.Remove(filler)) })
}

// occupy takes all the space that there is.
func occupy(f *os.File) {
	for step := int64(64 << 20); step >= 4096; {
		info, err := f.Stat()
		if err != nil || syscall.Fallocate(int(f.Fd()), 0, info.Size(), step) != nil {
			step /= 2
		}
	}
}

// recover ends an outage and waits until events are accepted again, by the same
// process. All answers of the outage must have said when to come again.
func (s *site) recover(load *load, o *outage, mend func() error) error {
	if err := mend(); err != nil {
		return err
	}
	mended := time.Now()
	accepted := load.accepted.Load()
	if err := rig.Await(time.Minute, "events to be accepted again", func() bool { return load.accepted.Load() > accepted }); err != nil {
		return err
	}
	took := time.Since(mended)
	o.recovery, o.refusals = max(o.recovery, took), load.refused.Load()
	if err := s.unharmed(load); err != nil {
		return err
	}
	if took > acceptAfter {
		return s.lab.late("events were accepted again after %v, not within %v", took, acceptAfter)
	}
	return nil
}

// answers counts the refusals of a load; anything but 503 with Retry-After is
// wrong.
type answers struct {
	refused atomic.Int64
	wrong   atomic.Pointer[error]
}

func (a *answers) failed(err error) {
	var answer *rig.NotAcceptedError
	if !errors.As(err, &answer) {
		return // a broken connection
	}
	a.refused.Add(1)
	if answer.Status != http.StatusServiceUnavailable || answer.RetryAfter == "" {
		err = fmt.Errorf("the refusal was not 503 with Retry-After: %w", err)
		a.wrong.Store(&err)
	}
}
