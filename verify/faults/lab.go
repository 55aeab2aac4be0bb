package main

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// lab is where the scenarios take place.
type lab struct {
	*flags
	dir, bin string
	sites    int
}

// rounds is how often something is repeated.
func (l *lab) rounds(long, short int) int {
	switch {
	case l.Rounds > 0:
		return l.Rounds
	case l.Short:
		return short
	}
	return long
}

// late is the error of a promise about time or size that was not kept, given as
// fmt.Errorf is. The short form runs on machines that do other things as well:
// it says so, and fails for nothing of that kind.
func (l *lab) late(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if l.Short {
		fmt.Printf("         note    %v\n", err)
		return nil
	}
	return err
}

// detail goes to standard error, if asked for.
func (l *lab) detail(format string, args ...any) {
	if l.Verbose {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

// site is a database, the service on it, which may be started many times, and
// a sink.
type site struct {
	lab     *lab
	dir     string
	options rig.Options
	service *rig.Service
	sink    *rig.Sink
	erased  int            // deliveries, with their accounts
	ended   []func() error // undo what the scenario did to the machine
}

// site makes one; options are the service's, with Bin, CA and Listen filled in
// here, and Dir if it is empty. The caller ends the site.
func (l *lab) site(options rig.Options) (_ *site, err error) {
	l.sites++
	s := &site{lab: l, dir: filepath.Join(l.dir, fmt.Sprint("site", l.sites)), options: options}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, err
	}
	if s.sink, err = rig.StartSink(s.dir); err != nil {
		return nil, err
	}
	s.options.Bin, s.options.CA = l.bin, s.sink.CA
	if s.options.Dir == "" {
		s.options.Dir = s.dir
	}
	s.options.LogFile = filepath.Join(s.dir, "serve.log")
	s.options.Listen, err = rig.FreeAddr() // the same for all starts: the feed goes on
	return s, err
}

// serve starts the service and waits until it is ready.
func (s *site) serve() (err error) {
	s.service, err = rig.Serve(s.options)
	return err
}

// end stops everything; err is what ended the scenario.
func (s *site) end(err error) error {
	errs := []error{err, s.service.End(err)}
	s.sink.Kill()
	for _, end := range slices.Backward(s.ended) {
		errs = append(errs, end())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// register gives n accounts a webhook each.
func (s *site) register(n int, url func(i int) string) error {
	_, err := s.service.RegisterAll(0, n, url)
	return err
}

// metric reads one that must be there.
func (s *site) metric(sample string) float64 {
	v, err := s.service.Metric(sample)
	if err != nil {
		return -1
	}
	return v
}

// attempts are how many were under way when these metrics were read.
func attempts(m map[string]float64) (n float64) {
	for _, class := range []string{"proven", "handed", "found", "suspect"} {
		n += m[`recapito_slots_in_use{class="`+class+`"}`]
	}
	return n
}

// load is a feed beside the faults, which repeats what was not accepted.
type load struct {
	stop     chan struct{}
	done     chan error
	accepted atomic.Int64
	answers
}

// load begins to feed from number 0, until the load is ended.
func (s *site) load(f rig.Feed) *load {
	l := &load{stop: make(chan struct{}), done: make(chan error, 1)}
	f.Events, f.Patient, f.Stop = 1<<31, true, l.stop
	f.Accepted = func(_, n int) { l.accepted.Add(int64(n)) }
	f.Failed = l.failed
	go func() { l.done <- f.Run(s.service) }()
	return l
}

// end ends the load and says how many events it fed: all were accepted, and
// their numbers are those below.
func (l *load) end() (int, error) {
	close(l.stop)
	err := <-l.done
	return int(l.accepted.Load()), err
}

// finish ends the load, says how many events it fed, and waits until all of them
// have arrived.
func (s *site) finish(l *load) (int, error) {
	n, err := l.end()
	if err := errors.Join(s.unharmed(l), err); err != nil {
		return n, err
	}
	return n, s.settle(n, 2*time.Minute)
}

// unharmed fails if the service has ended, or has refused the load with anything
// but 503 and Retry-After.
func (s *site) unharmed(l *load) error {
	select {
	case <-s.service.Exited():
		return errors.New("the service has ended")
	default:
	}
	if err := l.wrong.Load(); err != nil {
		return *err
	}
	return nil
}

// settle waits until every event below n has arrived and nothing is PENDING,
// and fails if that takes longer or something was given up.
func (s *site) settle(n int, limit time.Duration) error {
	var c rig.Counts
	late := rig.Await(limit, "the backlog to be empty", func() bool {
		time.Sleep(20 * time.Millisecond)
		return s.metric("recapito_backlog") == 0 && s.metric("recapito_unrecorded_outcomes") == 0
	})
	c, err := s.sink.Counts(n)
	switch {
	case err != nil:
		return err
	case len(c.Missing) > 0:
		return fmt.Errorf("LOST: of %d accepted events these (and perhaps more) did not arrive: %v (%w)", n, c.Missing, late)
	case late != nil:
		return late
	}
	for _, state := range []string{"FAILED", "CANCELLED"} {
		if v := s.metric(`recapito_deliveries{state="` + state + `"}`); v != 0 {
			return fmt.Errorf("%v deliveries are %s", v, state)
		}
	}
	if v := s.metric(`recapito_deliveries{state="DELIVERED"}`); int(v) != n-s.erased {
		return fmt.Errorf("%v deliveries are DELIVERED of %d accepted events, %d of them erased", v, n, s.erased)
	}
	return nil
}

// once fails if an event came twice, though no process was killed that could
// have forgotten its outcome. On a busy machine an answer may be read too late: the
// service has logged that, and tries again as it should.
func (s *site) once() error {
	repeats, err := s.sink.Repeats()
	if err != nil {
		return err
	}
	log, err := os.ReadFile(s.options.LogFile)
	if err != nil {
		return err
	}
	var late []error
	for _, r := range repeats {
		again := fmt.Errorf("an event came again, number %d at %v and %v", r.Number, r.Before, r.Then)
		if !timedOut(string(log), fmt.Sprintf("evt_%d_", r.Number), r) {
			return fmt.Errorf("%w, one of %d, and nothing explains it", again, len(repeats))
		}
		late = append(late, s.lab.late("%w, after an attempt that had no answer in time", again))
	}
	return errors.Join(late...)
}

// logLines are the lines of a service's log between two times, each divided behind its time.
func logLines(log string, from, to time.Time) iter.Seq2[string, string] {
	from = from.Truncate(time.Millisecond) // as the log's times are
	return func(yield func(stamp, rest string) bool) {
		for line := range strings.Lines(log) {
			stamp, rest, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
			at, err := time.Parse(time.RFC3339Nano, stamp)
			if err == nil && !at.Before(from) && at.Before(to) && !yield(stamp, rest) {
				return
			}
		}
	}
}

// timedOut reports whether a service has logged, between the arrivals of an event whose ID
// begins with a text, that its attempt had no answer in time.
func timedOut(log, event string, r rig.Repeat) bool {
	for _, rest := range logLines(log, r.Before, r.Then) {
		if strings.Contains(rest, "msg=attempt outcome=TIMEOUT ") && strings.Contains(rest, " event="+event) {
			return true
		}
	}
	return false
}

// closed waits until nothing is left of the load: what is open and served is
// what it was before.
func (s *site) closed(before rig.Vitals) (after rig.Vitals, err error) {
	const few = 5 // connections of the moment; those that are idle are kept for 45 s
	late := rig.Await(time.Minute, "files and goroutines to be back", func() bool {
		time.Sleep(100 * time.Millisecond)
		after, err = s.service.Vitals()
		return err != nil || after.OpenFiles <= before.OpenFiles+few && after.Goroutines <= before.Goroutines+few
	})
	if late != nil {
		late = fmt.Errorf("%d files and %d goroutines are left: %w", after.OpenFiles, after.Goroutines, late)
	}
	return after, errors.Join(err, late)
}

// subside is closed, and then waits for the memory.
func (s *site) subside(before rig.Vitals) (after rig.Vitals, err error) {
	if after, err = s.closed(before); err != nil {
		return after, err
	}
	const slack = 1.25 // the collector's own
	late := rig.Await(time.Minute, "memory to be back", func() bool {
		time.Sleep(100 * time.Millisecond)
		after, err = s.service.Vitals()
		return err != nil || float64(after.RSS) <= slack*float64(before.RSS)
	})
	if late != nil {
		late = s.lab.late("%d MiB are left: %w", after.RSS>>10, late)
	}
	return after, errors.Join(err, late)
}
