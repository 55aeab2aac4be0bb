package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/sqlite"
)

// oldEvents are as many as a replay has here; the bench has a million.
const oldEvents = 20_000

// TestReplayOutlivesKills: what failed is sent again beside new events, while the
// service is killed ten times. Each comes at least once more, and twice only if a kill
// came before its outcome was on the disk.
func TestReplayOutlivesKills(t *testing.T) {
	ca := newAuthority(t)
	to := newSink(t, ca)
	bin, db := build(t, false), filepath.Join(t.TempDir(), "recapito.db")
	seedFailed(t, db, to, "acc", oldEvents)
	svc := serve(t, bin, db, "--callback-ca", ca.file)
	code, answer := svc.api("POST", hook+"/replays", accountKey, "{}")
	if code != http.StatusAccepted {
		t.Fatalf("POST the replay: %d %s", code, answer)
	}
	path := hook + "/replays/" + field(t, answer, "id")

	fresh := newFresh(t, svc)
	var kills [][2]time.Time // from before each until what was sent before it has arrived
	for n := range 10 {
		eventually(t, "the replay to go on", func() bool { return progress(svc, path).SentAgain > int64(n)*oldEvents/12 })
		before := time.Now()
		svc.kill()
		eventually(t, "the connections of the killed process to be closed", func() bool { return to.open.Load() == 0 })
		kills = append(kills, [2]time.Time{before, time.Now()})
		svc = serve(t, bin, db, "--callback-ca", ca.file)
		fresh.use(svc)
	}
	eventually(t, "the replay to end", func() bool { return progress(svc, path).State == "DONE" })
	handed := fresh.end()
	if r := progress(svc, path); r.Matched != oldEvents || r.SentAgain != oldEvents || r.Remaining != 0 {
		t.Errorf("in the end: %+v, want all %d sent again", r, oldEvents)
	}
	eventually(t, "the backlog to be empty", func() bool { return metric(t, svc, "recapito_backlog") == 0 })

	arrivals := map[string][]arrival{}
	for _, a := range to.of("acc") {
		if a.Verified != nil {
			t.Fatalf("%s: signature: %v", a.ID, a.Verified)
		}
		arrivals[a.ID] = append(arrivals[a.ID], a)
	}
	repeats := 0
	for i := range oldEvents {
		came := arrivals[oldID(i)]
		if len(came) == 0 || came[0].Attempt != "2" || !strings.Contains(came[0].Body, fmt.Sprintf("%q", oldID(i))) {
			t.Fatalf("%s came %d times (%+v), want its second attempt", oldID(i), len(came), came)
		}
		for n := range came[1:] {
			repeats++
			if !slices.ContainsFunc(kills, func(k [2]time.Time) bool { return k[1].After(came[n].At) && k[0].Before(came[n+1].At) }) {
				t.Errorf("%s came again at %v without a kill since %v", oldID(i), came[n+1].At, came[n].At)
			}
		}
	}
	for _, id := range handed {
		if len(arrivals[id]) == 0 {
			t.Errorf("the new event %s did not arrive", id)
		}
	}
	t.Logf("%d sent again through %d kills, %d of them more than once; %d new events beside them", oldEvents, len(kills), repeats, len(handed))
}

// TestReplayOfTheMemoryStore: the platform has what was delivered sent again, of all
// accounts, beside new events.
func TestReplayOfTheMemoryStore(t *testing.T) {
	ca := newAuthority(t)
	to := newSink(t, ca)
	svc := serve(t, build(t, false), "", "--store", "memory:", "--callback-ca", ca.file)
	provision(t, svc, to, 4)
	var batches [][]string
	for i := range oldEvents / 500 {
		var events []string
		for j := range 500 {
			n := i*500 + j
			events = append(events, event(acc(n%4), oldID(n), fmt.Sprint("m-", n), "SENT"))
		}
		batches = append(batches, events)
	}
	feed(t, svc, 4, batches)
	eventuallyCounts(t, "events delivered", oldEvents, func() int { return to.count("") })
	eventually(t, "the outcomes to be recorded", func() bool { return metric(t, svc, "recapito_backlog") == 0 })
	code, answer := svc.api("POST", "/replays", bearer, `{"filters":{"state":["DELIVERED"]}}`)
	if code != http.StatusAccepted {
		t.Fatalf("POST the replay of all accounts: %d %s", code, answer)
	}
	path := "/replays/" + field(t, answer, "id")
	eventually(t, "the replay to end", func() bool { return progressAs(svc, path, bearer).State == "DONE" })
	if r := progressAs(svc, path, bearer); r.Matched != oldEvents || r.SentAgain != oldEvents || r.Accounts.Begun != 4 {
		t.Errorf("in the end: %+v, want %d of 4 accounts", r, oldEvents)
	}
	times := map[string]int{}
	for a := range 4 {
		for _, got := range to.of(acc(a)) {
			times[got.ID]++
		}
	}
	for i := range oldEvents {
		if times[oldID(i)] != 2 {
			t.Fatalf("%s came %d times, want 2", oldID(i), times[oldID(i)])
		}
	}
}

func oldID(i int) string { return fmt.Sprintf("old-%06d", i) }

const accountKey = "key_of_the_account_that_replays"

// seedFailed makes a database with an account whose deliveries have all failed.
func seedFailed(t *testing.T, db string, to *sink, account string, n int) {
	t.Helper()
	now := time.Now().Add(-time.Hour)
	seedAccount(t, db, to, account, now, func(ctx context.Context, st *sqlite.Store) (err error) {
		for from := 0; from < n && err == nil; from += 1000 {
			err = failSome(ctx, st, account, from, min(from+1000, n), now)
		}
		return err
	})
}

// seedAccount makes a database with an account, its key and its webhook, and fills it.
func seedAccount(t *testing.T, db string, to *sink, account string, now time.Time, fill func(context.Context, *sqlite.Store) error) {
	t.Helper()
	ctx := context.Background()
	st, err := sqlite.Open(ctx, sqlite.Config{Path: db})
	if err != nil {
		t.Fatal(err)
	}
	secret := store.NewSecret()
	to.trust(t, account, store.SecretText(secret))
	_, _, made := st.PutAccount(ctx, account, now)
	_, hooked := st.CreateWebhook(ctx, store.Webhook{
		AccountID: account, ID: store.NewID("wh_"), CallbackURL: to.url(account), Status: store.Active, Secret: secret, CreatedAt: now, UpdatedAt: now,
	})
	err = errors.Join(made, hooked, st.AddAPIKey(ctx, store.APIKey{AccountID: account, ID: "key_1", Hash: store.HashKey(accountKey), CreatedAt: now}))
	if err == nil {
		err = fill(ctx, st)
	}
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
}

func failSome(ctx context.Context, st *sqlite.Store, account string, from, to int, now time.Time) error {
	var events []store.Event
	for i := from; i < to; i++ {
		events = append(events, store.Event{AccountID: account, ID: oldID(i), MessageID: fmt.Sprint("m-", i), Channel: "SMS", Payload: fmt.Appendf(nil, `{"eventId":%q}`, oldID(i))})
	}
	if _, err := st.Accept(ctx, events, now); err != nil {
		return err
	}
	b, err := st.Backlog(ctx, store.BacklogQuery{AccountID: account, Now: now, Fresh: len(events)})
	if err != nil {
		return err
	}
	var outcomes []store.Outcome
	for i := range b.Fresh {
		outcomes = append(outcomes, store.Outcome{Delivery: &b.Fresh[i], State: store.Failed, Failures: 1,
			Attempt: &store.Attempt{Number: 1, At: now, StatusCode: 500, Error: store.HTTPStatus}})
	}
	return st.Record(ctx, outcomes, now)
}

// replayProgress is what a replay tells of itself.
type replayProgress struct {
	State                         string
	Matched, SentAgain, Remaining int64
	Accounts                      struct{ Begun int64 }
}

func progress(svc *service, path string) replayProgress { return progressAs(svc, path, accountKey) }

func progressAs(svc *service, path, credential string) (r replayProgress) {
	svc.t.Helper()
	code, answer := svc.api("GET", path, credential, "")
	if err := json.Unmarshal(answer, &r); err != nil || code != http.StatusOK {
		svc.t.Fatalf("GET %s: %d %s (%v)", path, code, answer, err)
	}
	return r
}

// fresh hands in new events, through kills.
type fresh struct {
	mu   sync.Mutex
	svc  *service
	over chan struct{}
	done chan []string
}

func newFresh(t *testing.T, svc *service) *fresh {
	f := &fresh{svc: svc, over: make(chan struct{}), done: make(chan []string, 1)}
	go f.run()
	t.Cleanup(func() { f.end() })
	return f
}

// use says which process is handed them.
func (f *fresh) use(svc *service) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.svc = svc
}

func (f *fresh) run() {
	var ids []string
	defer func() { f.done <- ids }()
	for n := 0; ; n++ {
		var events []string
		for i := range 10 {
			id := fmt.Sprintf("new-%06d", 10*n+i)
			ids = append(ids, id)
			events = append(events, event("acc", id, "n-"+id, "SENT"))
		}
		for code := 0; code != http.StatusAccepted; {
			select {
			case <-f.over:
				ids = ids[:len(ids)-len(events)]
				return
			case <-time.After(20 * time.Millisecond): // so many a second
			}
			f.mu.Lock()
			svc := f.svc
			f.mu.Unlock()
			code, _, _ = svc.try("POST", "/events", bearer, batch(events)) // again, if it was killed
		}
	}
}

// end returns those that were accepted.
func (f *fresh) end() []string {
	f.mu.Lock()
	select {
	case <-f.over:
	default:
		close(f.over)
	}
	f.mu.Unlock()
	ids := <-f.done
	f.done <- ids
	return ids
}
