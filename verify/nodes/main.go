// Command nodes shows several nodes on one PostgreSQL: it starts a PostgreSQL of its own
// and two nodes, hands in events at both, kills one, and lets the other one end while a
// third takes over. It fails if an event was lost, or repeated that a node had recorded
// before it ended. It leaves nothing behind. `make demo STORE=postgres` runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store/postgres/pgtest"
	"github.com/recapito/recapito/verify/rig"
)

type flags struct {
	Bin string `type:"existingfile" help:"Binary to show. Default: built from this checkout."`
}

func main() {
	rig.RunChild()
	var f flags
	parser := kong.Parse(&f, kong.Name("nodes"))
	parser.FatalIfErrorf(f.run())
}

const (
	accounts = 40
	batch    = 10
	rate     = 400 // events/s at each node
	limit    = 2 * time.Minute
)

// show is what runs.
type show struct {
	dir, bin, url string
	sink          *rig.Sink
	nodes         []*rig.Service
	next          int // number of the next event
	mu            sync.Mutex
	accepted      map[int]bool
}

func (f *flags) run() (err error) {
	s := &show{accepted: map[int]bool{}}
	var remove func()
	if s.dir, s.bin, remove, err = rig.Prepare("", f.Bin); err != nil {
		return err
	}
	defer remove()
	server, err := pgtest.Start()
	if err != nil {
		return err
	}
	defer server.Stop()
	s.url = server.URL("postgres")
	if s.sink, err = rig.StartSink(s.dir); err != nil {
		return err
	}
	defer s.sink.Kill()
	defer func() {
		for _, n := range s.nodes {
			err = errors.Join(err, n.End(err))
		}
	}()
	step("PostgreSQL is ready on port %d", server.Port)
	return s.play()
}

func step(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

func (s *show) play() error {
	first, err := s.node("one")
	if err != nil {
		return err
	}
	second, err := s.node("two")
	if err != nil {
		return err
	}
	if _, err := second.RegisterAll(0, accounts, func(i int) string { return s.sink.Endpoint(rig.OK, i) }); err != nil {
		return err
	}
	step("%d accounts are registered at node two", accounts)
	stop := s.feed(first, second)
	time.Sleep(3 * time.Second)
	killed := time.Now()
	first.Kill()
	s.nodes = s.nodes[1:]
	step("node one is killed under load")
	time.Sleep(time.Second)
	if err := stop(); err != nil {
		return err
	}
	if err := s.settled("its accounts are node two's", killed); err != nil {
		return err
	}
	before, err := s.sink.Repeats()
	if err != nil {
		return err
	}
	step("%d callbacks were repeated, of attempts that had not been recorded", len(before))
	third, err := s.node("three")
	if err != nil {
		return err
	}
	stop = s.feed(second, third)
	time.Sleep(3 * time.Second)
	if err := stop(); err != nil {
		return err
	}
	stop = s.feed(third)
	ended := time.Now()
	if err := second.Stop(); err != nil {
		return err
	}
	s.nodes = s.nodes[1:]
	step("node two was asked to end, and has after %v", time.Since(ended).Round(10*time.Millisecond))
	if err := stop(); err != nil {
		return err
	}
	if err := s.settled("its accounts are node three's", ended); err != nil {
		return err
	}
	again, err := s.sink.Repeats()
	if err == nil && len(again) > 0 {
		err = fmt.Errorf("%d callbacks were repeated though a node was asked to end", len(again))
	}
	if err == nil {
		step("none was repeated; %d events were accepted, and none is lost", len(s.accepted))
	}
	return err
}

// node starts one.
func (s *show) node(name string) (*rig.Service, error) {
	n, err := rig.Serve(rig.Options{Bin: s.bin, Dir: s.dir, LogFile: filepath.Join(s.dir, name+".log"), CA: s.sink.CA, Store: s.url})
	if n != nil && n.Child != nil {
		s.nodes = append(s.nodes, n)
	}
	if err == nil {
		step("node %s is ready at %s", name, n.URL)
	}
	return n, err
}

// feed hands in events at nodes until it is stopped. One that is killed refuses the rest.
func (s *show) feed(nodes ...*rig.Service) (stop func() error) {
	end := make(chan struct{})
	var all sync.WaitGroup
	var failure error
	for _, n := range nodes {
		from := s.next
		s.next += 1_000_000
		all.Go(func() {
			err := rig.Feed{Events: 1_000_000, From: from, Batch: batch, Clients: 4, Accounts: accounts, PerMessage: 5, PerSecond: rate, Stop: end, Accepted: s.accept}.Run(n)
			if err == nil {
				return
			}
			select {
			case <-n.Exited(): // it was killed
			case <-time.After(5 * time.Second):
				s.mu.Lock()
				failure = errors.Join(failure, err)
				s.mu.Unlock()
			}
		})
	}
	return func() error { close(end); all.Wait(); return failure }
}

func (s *show) accept(from, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		s.accepted[from+i] = true
	}
}

// settled returns when all that was accepted has arrived.
func (s *show) settled(what string, since time.Time) error {
	stored, err := s.stored()
	if err != nil {
		return err
	}
	for number := range s.accepted {
		if !stored[number] {
			return fmt.Errorf("event %d was accepted and is lost", number)
		}
	}
	var counts rig.Counts
	late := rig.Await(limit, "all events to arrive", func() bool {
		counts, err = s.sink.Counts(0)
		return err != nil || counts.Unique == len(stored)
	})
	if err = errors.Join(err, late); err != nil {
		return fmt.Errorf("%w: %d of %d", err, counts.Unique, len(stored))
	}
	step("%s: all %d events have arrived, %v later", what, len(stored), time.Since(since).Round(10*time.Millisecond))
	return nil
}

// stored are the numbers of all events that PostgreSQL has.
func (s *show) stored() (map[int]bool, error) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `SELECT split_part(event_id, '_', 2)::bigint FROM deliveries`)
	if err != nil {
		return nil, err
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int])
	stored := map[int]bool{}
	for _, n := range numbers {
		stored[n] = true
	}
	return stored, err
}
