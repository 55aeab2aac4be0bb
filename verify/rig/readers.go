package rig

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Readers read an account's feed, each for itself, and wait for what is to come.
type Readers struct {
	Number int
	Events int // to be read by each
	Key    string
	URL    string // of the service; it may be killed and started again there
}

// Read is what readers have read, together.
type Read struct {
	Events   int             // by each
	Took     time.Duration   // from the first request to the last answer
	Delays   []time.Duration // of each event, from when it was sent until the first reader had it
	Requests int
}

// Run returns when each reader has read all events. It fails if two readers differ,
// or one has an event twice.
func (r Readers) Run(stop <-chan struct{}) (Read, error) {
	began := time.Now()
	var requests atomic.Int64
	var all sync.WaitGroup
	read, errs := make([]reader, r.Number), make([]error, r.Number)
	for n := range read {
		all.Go(func() { errs[n] = read[n].follow(&r, n, &requests, stop) })
	}
	all.Wait()
	out := Read{Events: r.Events, Took: time.Since(began), Delays: read[0].delays, Requests: int(requests.Load())}
	for n := range read {
		if !slices.Equal(read[n].ids, read[0].ids) {
			errs = append(errs, fmt.Errorf("reader %d and the first have not read the same in the same order", n))
		}
	}
	seen := map[string]bool{}
	for _, id := range read[0].ids {
		if seen[id] {
			errs = append(errs, fmt.Errorf("%s was read twice", id))
		}
		seen[id] = true
	}
	return out, errors.Join(errs...)
}

// reader is one of them.
type reader struct {
	ids    []string
	delays []time.Duration // if it is the first
	next   string
}

func (d *reader) follow(r *Readers, n int, requests *atomic.Int64, stop <-chan struct{}) error {
	s := &Service{URL: r.URL, client: &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}}
	defer s.client.CloseIdleConnections()
	for len(d.ids) < r.Events {
		select {
		case <-stop:
			return fmt.Errorf("reader %d was stopped after %d events of %d", n, len(d.ids), r.Events)
		default:
		}
		path := "/webhooks/delivery-status/events?wait=30"
		if d.next != "" {
			path += "&after=" + d.next
		}
		requests.Add(1)
		code, answer, err := s.Call(http.MethodGet, path, r.Key, nil)
		if err != nil {
			time.Sleep(5 * time.Millisecond) // it was killed
			continue
		}
		var feed struct {
			Events     []struct{ EventID string }
			NextCursor string
		}
		if err := json.Unmarshal(answer, &feed); err != nil || code != http.StatusOK {
			return fmt.Errorf("reader %d: %d %s (%w)", n, code, answer, err)
		}
		for _, e := range feed.Events {
			d.ids = append(d.ids, e.EventID)
			if n == 0 {
				d.delays = append(d.delays, time.Since(sentAt(e.EventID)))
			}
		}
		d.next = feed.NextCursor
	}
	return nil
}

// sentAt is when an event of a [Feed] was sent.
func sentAt(id string) time.Time {
	ns, _ := strconv.ParseInt(id[strings.LastIndexByte(id, '_')+1:], 10, 64)
	return time.Unix(0, ns)
}

// FollowThroughKills lets readers follow the feed of one account while events are
// fed, and kills the service so often on the way. Each reader must have each event
// once, in order of acceptance: those of one client of the feed in the order in
// which it sent them.
func FollowThroughKills(o Options, readers, events, kills int) (read Read, err error) {
	if o.Listen, err = FreeAddr(); err != nil {
		return read, err
	}
	s, err := Serve(o)
	if err != nil {
		return read, err
	}
	defer func() { err = errors.Join(err, s.End(err)) }()
	key, err := s.Register(Account(0), "https://127.0.0.1:1/") // nobody listens: the feed is not what is delivered
	if err != nil {
		return read, err
	}
	const batch = 50
	stop, accepted := make(chan struct{}), make(chan int, events/batch+1)
	feed := Feed{Events: events, Batch: batch, Clients: 4, Accounts: 1, Patient: true, Stop: stop, Accepted: func(_, n int) { accepted <- n }}
	var fed, followed error
	var all sync.WaitGroup
	all.Go(func() { fed = feed.Run(s) }) // to the same address, whoever serves it
	all.Go(func() { read, followed = Readers{Number: readers, Events: events, Key: key, URL: s.URL}.Run(stop) })
	for done, killed := 0, 0; killed < kills && err == nil; {
		for done += <-accepted; done < (killed+1)*events/(kills+1); {
			done += <-accepted
		}
		killed++
		s.Kill()
		s, err = Serve(o)
	}
	if err != nil {
		close(stop)
	}
	all.Wait()
	return read, errors.Join(err, fed, followed)
}
