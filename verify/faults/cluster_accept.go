package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// This file holds an event to being accepted once: of those who hand it in at any nodes, at the
// same time or one after the other, one is told that it is accepted, and all others that it is a
// duplicate.

const (
	rivals   = 3
	rivalGap = 30 * time.Millisecond
)

// verdict is what a batch was answered. Of one with one event, neither: no answer, or an error of
// the service; it may have been accepted.
type verdict struct{ Accepted, Duplicates int }

// acceptModel is an event, which has been accepted or has not.
var acceptModel = porcupine.Model{
	Init: func() any { return false },
	Step: func(accepted, _, output any) (bool, any) {
		want := verdict{Accepted: 1}
		if accepted.(bool) {
			want = verdict{Duplicates: 1}
		}
		got := output.(verdict)
		return got == verdict{} || got == want, true
	},
}

// compete hands in event after event, each at some nodes by chance.
func (l *clusterLoad) compete() {
	for message := -1; !l.stopped(); message-- { // those of the feeders are not negative
		batch := []handed{{account: l.pick(), message: message}}
		first := l.hand(batch)
		body := batchBody(batch, first)
		ops := make([]porcupine.Operation, rivals)
		var all sync.WaitGroup
		for i := range ops {
			all.Go(func() {
				time.Sleep(rand.N(rivalGap))
				ops[i] = l.rival(i, first, body)
			})
		}
		all.Wait()
		l.competed = append(l.competed, ops)
	}
}

func (l *clusterLoad) rival(i, event int, body []byte) porcupine.Operation {
	op := porcupine.Operation{ClientId: i, Input: event, Call: time.Now().UnixNano()}
	code, answer, err := l.call("POST", "/events", platform, body)
	op.Return = time.Now().UnixNano()
	var got verdict
	switch {
	case err != nil || code >= http.StatusInternalServerError:
		op.Return = math.MaxInt64
	case code != http.StatusAccepted:
		l.fail(fmt.Errorf("POST /events: %d %s", code, answer))
	default:
		if err := json.Unmarshal(answer, &got); err != nil || got.Accepted+got.Duplicates != 1 {
			l.fail(fmt.Errorf("POST /events: %s (%w)", answer, err))
		}
		l.accept(event, 1)
	}
	op.Output = got
	return op
}

// acceptedOnce fails if an event was accepted twice, or was a duplicate of none.
func acceptedOnce(competed [][]porcupine.Operation) error {
	for _, ops := range competed {
		if porcupine.CheckOperations(acceptModel, ops) {
			continue
		}
		slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		var b strings.Builder
		for _, op := range ops {
			fmt.Fprintf(&b, " client %d from %d to %d µs: %+v;", op.ClientId, (op.Call-ops[0].Call)/1e3, (op.Return-ops[0].Call)/1e3, op.Output)
		}
		return fmt.Errorf("event %d was not accepted once:%s", ops[0].Input, b.String())
	}
	return nil
}
