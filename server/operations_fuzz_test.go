package server_test

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/memory"
)

// current is a store that can be replaced by a fresh one between requests.
type current struct{ server.Store }

// FuzzOperations sends any request to every operation, over a socket: the
// answer is never a 5xx, and always one that the document describes.
func FuzzOperations(f *testing.F) {
	c := loadContract(f)
	ops := c.operations(f)
	for i, o := range ops {
		f.Add(byte(i), "acc_1", "evt_1", "", jsonType, "", "")
		f.Add(byte(i), "acc_1", "key_1", "limit=1&state=PENDING&cursor=GJUy1gAAAAAAAAAAAAAAKg&after=latest&wait=30", jsonType, "", `{"callbackUrl":"https://a.example/"}`)
		f.Add(byte(i), "a/b", "%zz", "limit=%zz&from=2026-11-20T00:00:00Z", "text/plain", "gzip", batch(event("e", "acc_1")))
		f.Add(byte(i), "ü", "..", ";", "application/json; charset=latin1", "", `{"sha256":"`+strings.Repeat("0F", 32)+`"}`)
		f.Add(byte(i), "..", "evt_1", "from=2026-11-20t00:00:00+0100&statee=1&to=2016-12-31T23:59:60+0000", "application/json;charset=utf8", "", batch(event("e", "acc_1", "price:null", `timestamp:"2016-12-31t23:59:60z"`, `status:"READ"`), `{}`))
		f.Add(byte(i), "", "", "to=9999-12-31T23:59:59-23:59", "", "identity", `{"a":[{"a":1,"a":2}],"b":1e999,"c":"\ud800"}`+o.id)
	}
	at := &current{}
	stopped := make(chan struct{}) // nothing is waited for
	close(stopped)
	h, err := server.New(server.Config{
		Stop: stopped, Store: at, Spec: spec(f), PlatformKeys: keys(platformKey), Logger: slog.New(slog.DiscardHandler),
		CheckURL: func(raw string) error { return egress.CheckURL(raw, egress.Destinations{}) },
	})
	if err != nil {
		f.Fatal(err)
	}
	socket := httptest.NewServer(h)
	f.Cleanup(socket.Close)
	f.Fuzz(func(t *testing.T, op byte, account, item, query, media, encoding, body string) {
		o := ops[int(op)%len(ops)]
		if strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return // net/http refuses the request line by itself
		}
		if !httpguts.ValidHeaderFieldValue(media) || !httpguts.ValidHeaderFieldValue(encoding) {
			return // and such a header
		}
		at.Store = furnished(t)
		handIn(t, h)
		account, item = url.PathEscape(cmp.Or(account, "x")), url.PathEscape(cmp.Or(item, "x"))
		path := strings.NewReplacer("acc_x", account, "key_x", item, "evt_x", item).Replace(o.path)
		r, err := http.NewRequestWithContext(t.Context(), o.method, socket.URL+path+"?"+query, strings.NewReader(body))
		if err != nil {
			return // no client sends this
		}
		r.Header = http.Header{"X-Api-Key": {"k"}, "Authorization": {"Bearer " + platformKey}, "Content-Type": {media}}
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		resp, err := socket.Client().Transport.RoundTrip(r)
		if err != nil {
			t.Fatalf("%s: got %v, want an answer", o.id, err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("read the answer: got %v, want all of it", err)
		}
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusUnauthorized {
			t.Errorf("%s: got %d %s, want neither 5xx nor 401", o.id, resp.StatusCode, text)
		}
		if err := c.check(o.method, r.URL.EscapedPath(), resp.StatusCode, resp.Header, text); err != nil {
			t.Errorf("%s: got %d %s, want an answer that the document describes: %v", o.id, resp.StatusCode, text, err)
		}
	})
}

// furnished is a store with an account, its key "k" and a webhook.
func furnished(t *testing.T) store.Store {
	t.Helper()
	ctx, st := context.Background(), memory.New(memory.Config{})
	_, _, err := st.PutAccount(ctx, "acc_1", epoch)
	if err == nil {
		err = st.AddAPIKey(ctx, store.APIKey{AccountID: "acc_1", ID: "key_1", Hash: store.HashKey("k"), CreatedAt: epoch})
	}
	if err == nil {
		_, err = st.CreateWebhook(ctx, store.Webhook{AccountID: "acc_1", ID: "wh_1", CallbackURL: goodURL, Status: store.Active, CreatedAt: epoch, UpdatedAt: epoch})
	}
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// handIn makes the delivery evt_1 of acc_1.
func handIn(t *testing.T, h http.Handler) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/events", strings.NewReader(batch(event("evt_1", "acc_1"))))
	r.Header.Set("Authorization", "Bearer "+platformKey)
	r.Header.Set("Content-Type", jsonType)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusAccepted {
		t.Fatalf("hand in an event: got %d %s, want 202", w.Code, w.Body)
	}
}

// keepQuery is a store that keeps what was asked of the history.
type keepQuery struct {
	down
	asked *store.DeliveryQuery
}

func (k *keepQuery) Attempts(context.Context, store.AttemptQuery) (store.AttemptPage, error) {
	return store.AttemptPage{Next: store.AttemptPlace{Others: store.AttemptKey{At: epoch, Seq: 42}}}, nil
}

func (k *keepQuery) Events(_ context.Context, q store.FeedQuery) (store.FeedPage, error) {
	return store.FeedPage{Next: max(q.After, 42)}, nil
}

func (k *keepQuery) Deliveries(_ context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	k.asked = &q
	return store.DeliveryPage{Next: store.Place{AcceptedAt: epoch, Seq: 42}}, nil
}

// FuzzCursor: a cursor is taken only if it was answered, to the letter;
// everything else is a 400, and the store is not asked.
func FuzzCursor(f *testing.F) {
	kept := &keepQuery{}
	h, err := server.New(server.Config{Store: kept, Spec: spec(f), PlatformKeys: keys(platformKey), CheckURL: checkURL})
	if err != nil {
		f.Fatal(err)
	}
	list := func(query url.Values, of ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, webhookPath+"/"+cmp.Or(strings.Join(of, ""), "deliveries")+"?"+query.Encode(), nil)
		r.Header.Set("X-API-Key", "k")
		w := httptest.NewRecorder()
		kept.asked = nil
		h.ServeHTTP(w, r)
		return w
	}
	var page gen.DeliveryList
	if err := json.Unmarshal(list(nil).Body.Bytes(), &page); err != nil || page.NextCursor == nil {
		f.Fatalf("the first page: got %+v (%v), want a cursor", page, err)
	}
	answered := *page.NextCursor
	for _, seed := range []string{
		answered, answered[:len(answered)-1], answered + "A", answered + "=", "GJUy1gAAAAAAAAAAAAAAKg", "AAAAAAAAAAAAAAAAAAAAAA",
		strings.Repeat("A", len(answered)), "a+b/", "", answered[:20] + "\n" + answered[20:], strings.Repeat("A", 129),
	} {
		f.Add(seed, uint8(0))
	}
	var attempts gen.AttemptList
	if err := json.Unmarshal(list(nil, "attempts").Body.Bytes(), &attempts); err != nil || attempts.NextCursor == nil {
		f.Fatalf("the first page of attempts: got %+v (%v), want a cursor", attempts, err)
	}
	f.Add(*attempts.NextCursor, uint8(0))
	f.Fuzz(func(t *testing.T, text string, at uint8) {
		if text == "" || text == *attempts.NextCursor && list(url.Values{"cursor": {text}}).Code == http.StatusBadRequest {
			return // an empty parameter is none
		}
		// What is random is no cursor: what was answered, with a character
		// changed, is nearer to one.
		for _, text := range []string{text, answered[:int(at)%len(answered)] + text[:1] + answered[int(at)%len(answered)+1:]} {
			w := list(url.Values{"cursor": {text}})
			if text == answered && (w.Code != http.StatusOK || kept.asked == nil || kept.asked.After != store.Place{AcceptedAt: epoch, Seq: 42}) {
				t.Fatalf("%q: got %d and %+v, want 200 and the place that it was made of", text, w.Code, kept.asked)
			}
			for of, name := range map[string]string{"attempts": "cursor", "events": "after"} {
				if w := list(url.Values{name: {text}}, of); w.Code != http.StatusBadRequest && text != "latest" {
					t.Fatalf("%q, for the %s: got %d %s, want 400", text, of, w.Code, w.Body)
				}
			}
			if text != answered && (w.Code != http.StatusBadRequest || kept.asked != nil) {
				t.Fatalf("%q: got %d %s, want 400 and no query", text, w.Code, w.Body)
			}
		}
	})
}
