package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// keepAll is a store that accepts everything and keeps the last batch.
type keepAll struct {
	server.Store
	last []store.Event
}

func (k *keepAll) Accept(ctx context.Context, events []store.Event, now time.Time) ([]store.Verdict, error) {
	k.last = events
	return acceptAll{}.Accept(ctx, events, now)
}

// FuzzSendEvents: whatever the body, the answer is one that the document
// describes, and whatever is accepted is what another decoder reads and is sent
// as the document describes it.
func FuzzSendEvents(f *testing.F) {
	f.Add(batch(event("evt_1", "acc_1")))
	f.Add(batch(event("evt_1", "acc_1", `part:{"number":2.0,"total":3}`, `status:"EXPIRED"`, "final:false")))
	f.Add(batch(event("evt_1", "acc_1", `error:{"code":"X","permanent":true,"provider":{"name":"p","code":"1","details":null}}`)))
	f.Add(batch(event("evt_1", "acc_1", `description:"\ud83d\udce6\u2028<&>"`, `timestamp:"2261-12-31T23:59:59.9999Z"`)))
	f.Add(batch(event("evt_1", "acc_1", `timestamp:"9999-12-31T23:59:59-23:59"`)))
	f.Add(`{"events":[{"id":"a","ID":"b"}]}`)
	f.Add(batch(event("evt_1", "acc_1", `description:"\ud83d"`)))
	f.Add(batch(event("evt_1", "acc_1", `description:"\u0000\\u\udce6"`)))
	f.Add(batch(event("evt_1", "acc_1")) + " {}")
	f.Add(batch(event("evt_1", "acc_1", `i\u0064:"evt_2"`)))
	f.Add(batch(event("evt_1", "acc_1", `part:{"number":1e0,"total":10e-1}`, `price:{"amount":"-1.5","currency":"EUR"}`, `network:{"mccmnc":"22201"}`)))
	kept := &keepAll{}
	h, err := server.New(server.Config{
		Store: kept, Spec: spec(f), PlatformKeys: keys(platformKey), CheckURL: checkURL,
	})
	if err != nil {
		f.Fatal(err)
	}
	c := loadContract(f)
	sent := c.doc.Components.Schemas["StatusEvent"].Value
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, "/events", bytes.NewReader([]byte(body)))
		r.Header.Set("Authorization", "Bearer "+platformKey)
		r.Header.Set("Content-Type", jsonType)
		w := httptest.NewRecorder()
		kept.last = nil
		h.ServeHTTP(w, r)
		if w.Code != http.StatusAccepted && w.Code != http.StatusBadRequest && w.Code != http.StatusRequestEntityTooLarge {
			t.Fatalf("status: got %d, want 202, 400 or 413: %s", w.Code, w.Body)
		}
		if err := c.check("POST", "/events", w.Code, w.Header(), w.Body.Bytes()); err != nil {
			t.Fatalf("answer: got %v, want one that the document describes: %s", err, w.Body)
		}
		checkDecoding(t, body, w.Body.String(), kept.last)
		for _, e := range kept.last {
			var v any
			if err := json.Unmarshal(store.Body(e.Payload, 1), &v); err != nil {
				t.Fatalf("payload: got %v, want JSON: %s", err, e.Payload)
			}
			if err := sent.VisitJSON(v, openapi3.MultiErrors()); err != nil {
				t.Fatalf("payload: got %v, want one that the document describes: %s", err, e.Payload)
			}
		}
	})
}

// FuzzCreateWebhook: the URL that is stored is the one that was checked.
func FuzzCreateWebhook(f *testing.F) {
	f.Add(`{"callbackUrl":"https://a.example/"}`)
	f.Add(`{"callbackUrl":"https://a.example/","callbackURL":"https://evil.example/"}`)
	f.Add(`{"callbackUrl":"https://a.example/","callback\u0055rl":"https://b.example/"}`)
	var checkedURL string
	kept := &keepWebhook{}
	h, err := server.New(server.Config{
		Store: kept, Spec: spec(f), PlatformKeys: keys(platformKey),
		CheckURL: func(raw string) error { checkedURL = raw; return checkURL(raw) },
	})
	if err != nil {
		f.Fatal(err)
	}
	c := loadContract(f)
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, webhookPath, bytes.NewReader([]byte(body)))
		r.Header.Set("X-API-Key", "k")
		r.Header.Set("Content-Type", jsonType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if err := c.check("POST", webhookPath, w.Code, w.Header(), w.Body.Bytes()); err != nil {
			t.Fatalf("answer: got %v, want one that the document describes: %s", err, w.Body)
		}
		switch {
		case w.Code == http.StatusCreated && kept.url != checkedURL:
			t.Fatalf("URL: got %q stored, want the one that was checked: %q", kept.url, checkedURL)
		case w.Code != http.StatusCreated && w.Code != http.StatusBadRequest:
			t.Fatalf("status: got %d, want 201 or 400: %s", w.Code, w.Body)
		}
	})
}

// keepWebhook is a store that takes every webhook and keeps the last URL.
type keepWebhook struct {
	down
	url string
}

func (k *keepWebhook) CreateWebhook(_ context.Context, w store.Webhook) (store.Webhook, error) {
	k.url = w.CallbackURL
	return w, nil
}
