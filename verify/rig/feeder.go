package rig

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Feed is a load of events for accounts 0 to Accounts-1, in turn.
type Feed struct {
	Events     int
	From       int // number of the first event: numbers are never used twice
	Batch      int
	Clients    int
	Accounts   int
	Account    func(i int) string // name; default: Account
	PerMessage int                // events of one message in a row; default 1
	// PerSecond paces the feed: batches are sent at their time, whether or not
	// those before have been answered. 0: as fast as answers come.
	PerSecond float64
	// Seed, if not 0, paces by chance (a Poisson process, the same for the same
	// seed). Even feeds that begin together stay in step, so that each batch of
	// one comes together with a batch of the other.
	Seed uint64
	// Patient feeds repeat a batch that was not accepted until it is.
	Patient bool
	// Stop ends a feed early: it begins no more batches.
	Stop <-chan struct{}
	// Accepted is told of each batch that got its 202.
	Accepted func(from, n int)
	// Took is told how long each of these took, from its first byte to the answer.
	Took func(time.Duration)
	// Failed is told why a patient feed's batch must be repeated: a
	// [*NotAcceptedError] if there was an answer.
	Failed func(error)
}

// Account is the name of the rig's i-th account.
func Account(i int) string { return "acc" + strconv.Itoa(i) }

// appendEvent appends an event whose id carries its number and the time at which
// it was sent, which the sink compares with its arrival.
func appendEvent(b []byte, number int, account string, message int, sent time.Time) []byte {
	b = append(b, `{"id":"evt_`...)
	b = strconv.AppendInt(b, int64(number), 10)
	b = append(b, '_')
	b = strconv.AppendInt(b, sent.UnixNano(), 10)
	b = append(b, `","accountId":"`...)
	b = append(b, account...)
	b = append(b, `","messageId":"9c1f6a5e-52b0-4c41-`...)
	b = strconv.AppendInt(b, int64(message), 10)
	b = append(b, `","customerMessageId":"order-`...)
	b = strconv.AppendInt(b, int64(message), 10)
	return append(b, `","channel":"SMS","destination":"+393401234567","status":"SENT","description":"Handed to the operator","timestamp":"2026-11-20T10:30:00.000Z"}`...)
}

// Run feeds; it returns when every batch was answered.
func (f Feed) Run(s *Service) error {
	if f.Account == nil {
		f.Account = Account
	}
	f.PerMessage = max(1, f.PerMessage)
	next := f.schedule(time.Now())
	var failed atomic.Pointer[error]
	var clients sync.WaitGroup
	for range f.Clients {
		clients.Go(func() {
			var buf []byte
			line := &line{addr: strings.TrimPrefix(s.URL, "http://")}
			defer line.close()
			for failed.Load() == nil {
				if f.stopped() {
					return
				}
				first, due := next()
				n := min(f.Batch, f.Events-first)
				if n <= 0 {
					return
				}
				time.Sleep(time.Until(due))
				if err := f.send(line, &buf, f.From+first, n); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	clients.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// schedule returns what says which batch is next, by its first event, and when
// it is due.
func (f *Feed) schedule(begin time.Time) func() (first int, due time.Time) {
	var gap float64 // seconds, the mean
	if f.PerSecond > 0 {
		gap = float64(f.Batch) / f.PerSecond
	}
	chance := rand.New(rand.NewPCG(f.Seed, 0))
	var mu sync.Mutex
	next, after := 0, 0.0
	return func() (int, time.Time) {
		mu.Lock()
		defer mu.Unlock()
		first, due := next, begin.Add(time.Duration(after*float64(time.Second)))
		next += f.Batch
		if f.Seed != 0 {
			after += gap * chance.ExpFloat64()
		} else {
			after += gap
		}
		return first, due
	}
}

func (f *Feed) stopped() bool {
	select {
	case <-f.Stop:
		return true
	default:
		return false
	}
}

func (f *Feed) send(line *line, buf *[]byte, from, n int) error {
	b := append((*buf)[:0], `{"events":[`...)
	sent := time.Now()
	for i := from; i < from+n; i++ {
		if i > from {
			b = append(b, ',')
		}
		b = appendEvent(b, i, f.Account(i/f.PerMessage%f.Accounts), i/f.PerMessage, sent)
	}
	b = append(b, "]}"...)
	*buf = b
	var giveUp time.Time // once it is stopped
	for {
		began := time.Now()
		err := line.post("/events", b, n)
		switch {
		case err == nil:
			if f.Took != nil {
				f.Took(time.Since(began))
			}
			if f.Accepted != nil {
				f.Accepted(from, n)
			}
			return nil
		case !f.Patient:
			return err
		case giveUp.IsZero() && f.stopped():
			giveUp = time.Now().Add(time.Minute)
		case !giveUp.IsZero() && time.Now().After(giveUp):
			return err
		}
		if f.Failed != nil {
			f.Failed(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
