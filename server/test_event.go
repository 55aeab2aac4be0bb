package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

func (s *server) SendTestEvent(ctx context.Context, r gen.SendTestEventRequestObject) (gen.SendTestEventResponseObject, error) {
	name := gen.TestSampleSMSDELIVERED
	if r.Body != nil && r.Body.Sample != nil {
		name = gen.TestSample(*r.Body.Sample)
	}
	w, err := s.tested(ctx, r.Body)
	if err != nil {
		return nil, err
	}
	end, err := s.tests.begin(w.AccountID, s.Now())
	if err != nil {
		return nil, err
	}
	defer end()
	id, body := s.samples[name].event(w.AccountID, s.Now())
	a, session := s.Engine.Test(ctx, &w, id, body)
	if err := ctx.Err(); err != nil {
		return nil, err // nobody waits for the answer
	}
	out := gen.SendTestEvent200JSONResponse{Sample: name, Payload: body, Attempt: showAttempt(a), TLS: showSession(session)}
	found := rule(&a, expiry(session), s.Now())
	out.Verdict, out.Advice = found.verdict, found.advice
	return out, nil
}

// tested is the webhook that a test is sent to: the account's, or one that is only
// thought of, with the URL of the request. Without a webhook its secret is a new one.
func (s *server) tested(ctx context.Context, input *gen.TestEventInput) (store.Webhook, error) {
	w, err := s.Store.Webhook(ctx, accountOf(ctx))
	if input == nil || input.CallbackURL == nil {
		return w, when(err, store.ErrNotFound, errNoWebhook)
	}
	if errors.Is(err, store.ErrNotFound) {
		w, err = store.Webhook{AccountID: accountOf(ctx), Secret: store.NewSecret(), Status: store.Active}, nil
	}
	w.CallbackURL = *input.CallbackURL
	return w, err
}

// samples are the events of tests.
type samples map[gen.TestSample]sample

type sample struct {
	input    gen.EventInput
	sequence int64
}

// newSamples reads them from the document's examples.
func newSamples(doc *openapi3.T) (samples, error) {
	all := samples{}
	schema := doc.Components.Schemas["TestSample"]
	if schema == nil {
		return nil, errors.New("the document has no TestSample")
	}
	for _, value := range schema.Value.Enum {
		name := fmt.Sprint(value)
		example := doc.Components.Examples[exampleOf(name)]
		if example == nil {
			return nil, fmt.Errorf("the document has no example %s, for the test sample %s", exampleOf(name), name)
		}
		text, err := json.Marshal(example.Value.Value)
		if err != nil {
			return nil, fmt.Errorf("the test sample %s: %w", name, err)
		}
		var sequence struct{ Sequence int64 }
		var s sample
		if err := errors.Join(json.Unmarshal(text, &s.input), json.Unmarshal(text, &sequence)); err != nil {
			return nil, fmt.Errorf("the test sample %s: %w", name, err)
		}
		s.input.Final, s.sequence = nil, sequence.Sequence
		all[gen.TestSample(name)] = s
	}
	return all, nil
}

// exampleOf is the name of a sample's example: SmsDelivered for SMS_DELIVERED.
func exampleOf(sample string) string {
	var name strings.Builder
	for word := range strings.SplitSeq(sample, "_") {
		name.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return name.String()
}

// event is one that is sent now. It names no message and no id of the account's:
// a receiver that does not know TEST changes nothing of its own.
func (s sample) event(account string, now time.Time) (id string, body []byte) {
	e := s.input
	id = store.NewID("test_")
	e.ID, e.AccountID, e.MessageID, e.Timestamp = id, account, id, gen.Time(now)
	e.CustomerMessageID = new("test-" + value(s.input.CustomerMessageID))
	return id, store.Body(payload(&e, gen.EventTypeTEST, now), s.sequence)
}

const (
	testsPerMinute = 10
	// maxTests are under way at a time, of all accounts: each takes a file and a
	// request of the API.
	maxTests = 64
)

// tests bounds the tests of each account, and of all together.
type tests struct {
	limiter *limiter

	mu       sync.Mutex
	underWay map[string]bool // by account
}

func newTests() *tests {
	return &tests{
		limiter:  perMinute(testsPerMinute),
		underWay: map[string]bool{},
	}
}

// begin lets a test begin, or refuses it.
func (t *tests) begin(account string, now time.Time) (end func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.underWay[account]:
		return nil, tooMany("A test of this account is under way.", time.Second)
	case len(t.underWay) >= maxTests:
		return nil, tooMany("Too many accounts are sending tests.", time.Second)
	}
	if left := t.limiter.take(account, now); !left.granted {
		return nil, tooMany(fmt.Sprintf("An account may send %d tests a minute.", testsPerMinute), left.retry)
	}
	t.underWay[account] = true
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.underWay, account)
	}, nil
}
