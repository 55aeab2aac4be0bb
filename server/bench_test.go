package server_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// acceptAll is a store whose intake costs nothing.
type acceptAll struct{ server.Store }

func (acceptAll) Accept(_ context.Context, events []store.Event, _ time.Time) ([]store.Verdict, error) {
	verdicts := make([]store.Verdict, len(events))
	for i := range verdicts {
		verdicts[i] = store.Accepted
	}
	return verdicts, nil
}

// BenchmarkSendEvents is the hot path but for the store and the network: a
// batch of 100 typical events, from the request to the answer.
func BenchmarkSendEvents(b *testing.B) {
	const batch = 100
	var body bytes.Buffer
	body.WriteString(`{"events":[`)
	for i := range batch {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"id":"evt_01KAG7M9S346Q3D25VT4F5%04d","accountId":"acc_1","messageId":"e76614d1-4ac1-4d94-89f0-%012d",`+
			`"customerMessageId":"order-12345","channel":"SMS","destination":"+393401234567","status":"DELIVERED",`+
			`"description":"Message delivered","timestamp":"2026-11-20T10:30:00.000Z"}`, i, i)
	}
	body.WriteString(`]}`)
	h, err := server.New(server.Config{
		Store: acceptAll{}, Spec: spec(b), PlatformKeys: keys(platformKey), CheckURL: checkURL,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/events", bytes.NewReader(body.Bytes()))
		r.Header.Set("Authorization", "Bearer "+platformKey)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusAccepted {
			b.Fatalf("status: got %d, want 202: %s", w.Code, w.Body)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/event")
}
