package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/postgres"
	"github.com/recapito/recapito/store/postgres/pgtest"
)

// hangs is the host of the endpoints that answer when they are let.
const hangs = "https://hangs."

// hangers are the endpoints of all accounts. An attempt has no deadline.
type hangers struct {
	mu   sync.Mutex
	came []string      // "event URL", in order
	let  chan struct{} // closed: those that hang answer
	once sync.Once
}

// Post implements [dispatcher.Sender].
func (e *hangers) Post(ctx context.Context, r *egress.Request) egress.Result {
	if err := r.Proceed(); err != nil {
		return egress.Result{Kind: egress.Withdrawn, Err: err}
	}
	var id string
	for _, f := range r.Header {
		if f.Name == "Webhook-Id" {
			id = f.Value
		}
	}
	e.mu.Lock()
	e.came = append(e.came, id+" "+r.URL)
	e.mu.Unlock()
	if strings.HasPrefix(r.URL, hangs) {
		select {
		case <-e.let:
		case <-ctx.Done():
			return egress.Result{Kind: egress.Interrupted, Err: ctx.Err()}
		}
	}
	return egress.Result{Kind: egress.Acknowledged, StatusCode: 204}
}

func (e *hangers) arrived() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.came)
}

// letGo lets those that hang answer.
func (e *hangers) letGo() { e.once.Do(func() { close(e.let) }) }

// inProcess is a node with its dispatcher, within the test.
type inProcess struct {
	*postgres.Store
	end func() // as at SIGTERM, but for the requests
}

func startNode(t *testing.T, url string, to *hangers) *inProcess {
	t.Helper()
	s, err := postgres.Open(context.Background(), postgres.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	d, err := dispatcher.New(dispatcher.Config{Store: s, Sender: to, AttemptTimeout: time.Hour, SoftStop: time.Hour, RetryHorizon: 100 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s.Listen(d)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = d.Run(ctx) }()
	p := &inProcess{Store: s}
	p.end = sync.OnceFunc(func() {
		s.HandOver(context.Background())
		cancel()
		<-done
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		to.letGo() // else a test that failed does not end
		p.end()
	})
	return p
}

func (p *inProcess) register(t *testing.T, account, url string) {
	t.Helper()
	now := time.Now()
	if _, _, err := p.PutAccount(t.Context(), account, now); err != nil {
		t.Fatal(err)
	}
	w := store.Webhook{AccountID: account, ID: store.NewID("wh_"), CallbackURL: url, Status: store.Active, Secret: store.NewSecret(), CreatedAt: now, UpdatedAt: now}
	if _, err := p.CreateWebhook(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

func (p *inProcess) accept(t *testing.T, account, message string, ids ...string) {
	t.Helper()
	var events []store.Event
	for _, id := range ids {
		events = append(events, store.Event{AccountID: account, ID: id, MessageID: message, Channel: "SMS", Payload: fmt.Appendf(nil, `{"id":%q}`, id)})
	}
	if _, err := p.Accept(t.Context(), events, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// The accounts of a node go from one to the next while an endpoint hangs, at a graceful stop
// of each: its neighbours in the shard do not wait, and nothing comes twice, out of
// order, or to an old URL.
func TestAHangingEndpointKeepsNobodyAtAGracefulStop(t *testing.T) {
	server, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	url, to := server.Database(t), &hangers{let: make(chan struct{})}
	first := startNode(t, url, to)
	const account = "hanging"
	neighbour := sameShard(account)
	first.register(t, account, hangs+"example/1")
	first.register(t, neighbour, "https://ok.example/")
	first.accept(t, account, "m", "a1", "a2")
	want := []string{"a1 " + hangs + "example/1"}
	eventually(t, "the attempt to begin", func() bool { return len(to.arrived()) == 1 })

	second := startNode(t, url, to)
	ended := make(chan struct{})
	go func() { defer close(ended); first.end() }() // it waits for the attempt
	eventually(t, "the next node to have the shard", func() bool { return second.May(neighbour) })
	second.accept(t, neighbour, "n", "b1")
	second.accept(t, account, "m", "a3")
	want = append(want, "b1 https://ok.example/")
	eventually(t, "the neighbour's event", func() bool { return len(to.arrived()) >= len(want) })

	third := startNode(t, url, to) // and on, while the first node still holds the account
	second.end()
	eventually(t, "the third node to have the shard", func() bool { return third.May(neighbour) })
	third.accept(t, neighbour, "n", "b2")
	want = append(want, "b2 https://ok.example/")
	eventually(t, "the neighbour's event", func() bool { return len(to.arrived()) >= len(want) })
	if got := to.arrived(); !slices.Equal(got, want) {
		t.Fatalf("while the endpoint hangs there came\n%v, want\n%v", got, want)
	}
	if _, err := third.ReplaceCallbackURL(t.Context(), account, "https://ok.example/2", time.Now()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
		t.Fatal("the first node has ended, though its attempt is under way")
	default:
	}

	to.letGo()
	<-ended
	want = append(want, "a2 https://ok.example/2", "a3 https://ok.example/2")
	eventually(t, "what waited behind it", func() bool { return len(to.arrived()) >= len(want) })
	eventually(t, "all to be recorded", func() bool { return third.Stats().Deliveries[store.Delivered] == int64(len(want)) })
	if got := to.arrived(); !slices.Equal(got, want) {
		t.Errorf("there came\n%v, want\n%v", got, want)
	}
}

// sameShard is another account of an account's shard.
func sameShard(account string) string {
	for i := 0; ; i++ {
		if id := fmt.Sprint("neighbour-", i); shardOf(id) == shardOf(account) {
			return id
		}
	}
}
