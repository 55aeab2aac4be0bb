package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/recapito/recapito/verify/rig"
)

const (
	clusterAccounts = 120
	clusterRate     = 400 // events/s, of all nodes
	clusterBatch    = 10  // events of different messages
	clusterFeeders  = 8
	eventsOfMessage = 3
	clusterPutters  = 4
	putGap          = 80 * time.Millisecond // of each putter
	// clusterPatience is how long an answer may take. A node that is silent is taken
	// for dead, so that what waits for it goes on.
	clusterPatience = 8 * time.Second
)

// hangs and dawdles say which endpoints do not answer in time.
func hangs(account int) bool   { return account%10 == 0 }
func dawdles(account int) bool { return account%10 == 9 }

// clusterLoad hands in events and puts callback URLs, each at a node by chance.
type clusterLoad struct {
	*record
	c       *cluster
	stop    chan struct{}
	all     sync.WaitGroup
	mu      sync.Mutex
	wrong   error
	version [clusterAccounts]int // of its putter
	// competed are what the rivals for each event were answered.
	competed [][]porcupine.Operation
}

func (c *cluster) startLoad() *clusterLoad {
	l := &clusterLoad{record: c.record, c: c, stop: make(chan struct{})}
	for f := range clusterFeeders {
		l.all.Go(func() { l.feed(f) })
	}
	for p := range clusterPutters {
		l.all.Go(func() { l.put(p) })
	}
	l.all.Go(l.compete)
	return l
}

// end stops the load. Every URL of an endpoint that hung is put anew, so that it is tried.
func (l *clusterLoad) end() error {
	close(l.stop)
	l.all.Wait()
	l.c.open.Store(true)
	for a := range clusterAccounts {
		if hangs(a) && !l.putOne(a) {
			l.fail(fmt.Errorf("no node took the PUT of account %d", a))
		}
	}
	return errors.Join(l.wrong, acceptedOnce(l.competed))
}

// call asks a node by chance.
func (l *clusterLoad) call(method, path, credential string, body []byte) (code int, answer []byte, err error) {
	code, answer, err = l.c.any().Call(method, path, credential, body)
	if err == nil && code >= http.StatusInternalServerError {
		l.refuse()
	}
	return code, answer, err
}

func (l *clusterLoad) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

func (l *clusterLoad) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = errors.Join(l.wrong, err)
}

// feed hands in batch after batch at its time. A message's events follow each other.
func (l *clusterLoad) feed(feeder int) {
	const gap = time.Second * clusterBatch * clusterFeeders / clusterRate
	due := time.Now().Add(rand.N(gap))
	for round := 0; ; round++ {
		batch := make([]handed, clusterBatch)
		for i := range batch {
			batch[i] = handed{account: l.pick(), message: feeder + clusterFeeders*(round*clusterBatch+i)}
		}
		for range eventsOfMessage {
			if l.stopped() {
				return
			}
			time.Sleep(time.Until(due))
			l.handIn(batch)
			if due = due.Add(gap); time.Until(due) < 0 {
				due = time.Now() // what a fault took is not made up for
			}
		}
	}
}

// pick is an account by chance. Fewer events are for endpoints that hang or are slow.
func (l *clusterLoad) pick() int {
	a := rand.IntN(clusterAccounts)
	if (hangs(a) || dawdles(a)) && rand.IntN(4) > 0 {
		return l.pick()
	}
	return a
}

// handIn hands a batch in until it is accepted, at one node after the other.
func (l *clusterLoad) handIn(batch []handed) {
	first := l.hand(batch)
	body := batchBody(batch, first)
	for giveUp := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		code, answer, err := l.call("POST", "/events", platform, body)
		switch {
		case err == nil && code == http.StatusAccepted:
			var got verdict
			if err := json.Unmarshal(answer, &got); err != nil || got.Accepted+got.Duplicates != len(batch) {
				l.fail(fmt.Errorf("POST /events: %s (%w)", answer, err))
				return
			}
			l.accept(first, len(batch))
			return
		case err == nil && code != http.StatusServiceUnavailable:
			l.fail(fmt.Errorf("POST /events: %d %s", code, answer))
			return
		case time.Now().After(giveUp):
			l.fail(fmt.Errorf("no node accepted events for two minutes: %d (%w)", code, err))
			return
		}
	}
}

const platform = "Bearer " + rig.PlatformKey

func batchBody(batch []handed, first int) []byte {
	b := []byte(`{"events":[`)
	for i, e := range batch {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"id":"evt_%d","accountId":%q,"messageId":"msg_%d","channel":"SMS","destination":"+393401234567","status":"SENT","description":"Handed to the operator","timestamp":"2026-11-20T10:30:00.000Z"}`,
			first+i, rig.Account(e.account), e.message)
	}
	return append(b, "]}"...)
}

// put puts URLs of the putter's own accounts.
func (l *clusterLoad) put(putter int) {
	for !l.stopped() {
		l.putOne(rand.IntN(clusterAccounts/clusterPutters)*clusterPutters + putter)
		time.Sleep(putGap)
	}
}

// putOne puts an account's next URL, and reports whether that was answered.
func (l *clusterLoad) putOne(account int) bool {
	l.version[account]++
	p := put{account: account, version: l.version[account], begin: time.Now()}
	code, answer, err := l.call("PUT", webhookPath, l.c.keys[account], fmt.Appendf(nil, `{"callbackUrl":%q}`, l.c.url(account, p.version)))
	p.end, p.known = time.Now(), err == nil && code == http.StatusOK
	l.record.put(p)
	if err == nil && code < http.StatusInternalServerError && code != http.StatusOK {
		l.fail(fmt.Errorf("PUT: %d %s", code, answer))
	}
	return p.known
}

const webhookPath = "/webhooks/delivery-status"
