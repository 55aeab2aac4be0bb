package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

func (s *server) SendEvents(ctx context.Context, r gen.SendEventsRequestObject) (gen.SendEventsResponseObject, error) {
	now := s.Now()
	events, wrong := prepare(r.Body.Events, now)
	if len(wrong) > 0 {
		return nil, invalid(wrong)
	}
	result, err := s.accept(ctx, events, now)
	if err != nil {
		return nil, err
	}
	s.OnEvents(result)
	return gen.SendEvents202JSONResponse(result), nil
}

// accept has the store accept events, and follows that.
func (s *server) accept(ctx context.Context, events []store.Event, now time.Time) (result gen.EventsResult, err error) {
	if kept, ended := s.followed(ctx); ended != nil {
		for i := range events {
			events[i].Traceparent = kept
		}
		from := s.Now()
		defer func() { ended(Acceptance{from, s.Now(), result, err}) }()
	}
	verdicts, err := s.Store.Accept(ctx, events, now)
	s.waiting.wake(events) // also if it failed: it may have happened
	if err != nil {
		return result, notStored(err)
	}
	s.quotas.note(events, verdicts, now)
	return tally(verdicts)
}

// notStored answers every failure of the store. It is not known whether the
// events were stored; sending them again is safe.
func notStored(cause error) error {
	ref := unavailable("The events could not be stored. Send them again.")
	ref.cause = fmt.Errorf("accept events: %w", cause)
	return ref
}

// prepare makes events for the store, or returns what is wrong with them.
func prepare(in []gen.EventInput, now time.Time) (events []store.Event, wrong []gen.ProblemError) {
	events = make([]store.Event, 0, len(in))
	for i := range in {
		body, name, why := prepareEvent(&in[i], now)
		if why != "" {
			wrong = append(wrong, gen.ProblemError{Pointer: fmt.Sprintf("/events/%d%s", i, name), Detail: why})
		}
		events = append(events, store.Event{
			AccountID: in[i].AccountID, ID: in[i].ID, MessageID: in[i].MessageID,
			Channel: string(in[i].Channel), Part: partNumber(in[i].Part), Payload: body,
		})
	}
	return events, wrong
}

// prepareEvent returns what is sent of an event, or the wrong member, as a JSON
// Pointer, and the reason.
func prepareEvent(e *gen.EventInput, now time.Time) (body []byte, pointer, why string) {
	if pointer, why = checkEvent(e); why != "" {
		return nil, pointer, why
	}
	if body = payload(e, eventType(e.Status), now); len(body) > payloadLimit {
		return nil, "", fmt.Sprintf("is larger than %d bytes when it is sent", payloadLimit)
	}
	return body, "", ""
}

// examineEvents adds what is wrong with those events of a batch in which the
// schema found nothing, so that the caller learns of all bad ones at once.
func examineEvents(body any, found []gen.ProblemError) []gen.ProblemError {
	batch, _ := body.(map[string]any)
	events, _ := batch["events"].([]any)
	bad := make(map[int]bool, len(found))
	for _, e := range found {
		bad[eventIndex(e)] = true
	}
	for i, value := range events {
		var e gen.EventInput
		if bad[i] || decodeValue(value, &e) != nil {
			continue
		}
		if _, name, why := prepareEvent(&e, time.Time{}); why != "" {
			found = append(found, gen.ProblemError{Pointer: fmt.Sprintf("/events/%d%s", i, name), Detail: why})
		}
	}
	slices.SortStableFunc(found, func(a, b gen.ProblemError) int { return cmp.Compare(eventIndex(a), eventIndex(b)) })
	return found
}

// eventIndex is which event of the batch the error is about; -1: the batch.
func eventIndex(e gen.ProblemError) int {
	rest, _ := strings.CutPrefix(e.Pointer, "/events/")
	number, _, _ := strings.Cut(rest, "/")
	if i, err := strconv.Atoi(number); err == nil {
		return i
	}
	return -1
}

// decodeValue is for a value that was decoded into maps before.
func decodeValue(value any, into any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// checkEvent checks the rules that concern more than one member. It returns the
// wrong member, as a JSON Pointer, and the reason.
func checkEvent(e *gen.EventInput) (pointer, why string) {
	switch {
	case e.Destination == nil && e.RecipientID == nil:
		return "/destination", "destination or recipientId is required"
	case e.Status == gen.MessageStatusREAD && e.Channel == gen.ChannelSMS:
		return "/status", "READ does not occur on SMS"
	case e.Final != nil && e.Status != gen.MessageStatusEXPIRED:
		return "/final", "is allowed with EXPIRED only"
	case e.Part != nil && e.Part.Number > e.Part.Total:
		return "/part/number", "is greater than total"
	}
	return "", ""
}

func partNumber(p *gen.PartInput) int {
	if p == nil {
		return 0
	}
	return int(p.Number)
}

// tally counts verdicts.
func tally(verdicts []store.Verdict) (gen.EventsResult, error) {
	r := gen.EventsResult{Skipped: []gen.SkippedEvent{}}
	skip := func(i int, why gen.SkipReason) {
		r.Skipped = append(r.Skipped, gen.SkippedEvent{Index: int32(i), Reason: why})
	}
	for i, v := range verdicts {
		switch v {
		case store.Accepted:
			r.Accepted++
		case store.Duplicate:
			r.Duplicates++
		case store.NoWebhook:
			skip(i, gen.SkipReasonNOWEBHOOK)
		case store.UnknownAccount:
			skip(i, gen.SkipReasonUNKNOWNACCOUNT)
		case store.Reused:
			skip(i, gen.SkipReasonIDREUSED)
		case store.Unreadable:
			skip(i, gen.SkipReasonACCOUNTUNREADABLE)
		case store.OverQuota:
			skip(i, gen.SkipReasonOVERQUOTA)
		default:
			return r, fmt.Errorf("verdict %d on event %d", v, i)
		}
	}
	return r, nil
}
