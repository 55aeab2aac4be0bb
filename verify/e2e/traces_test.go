package e2e

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes traces, as those of OpenTelemetry do (OTLP, protobuf over HTTP).
type collector struct {
	server *httptest.Server
	mu     sync.Mutex
	spans  []*spans.Span
	texts  []byte // all that came
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var batch spans.TracesData // as ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &batch)
		}
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("the collector got %s %s, %s: %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.texts = append(c.texts, body...)
		for _, resource := range batch.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(c.server.Close)
	return c
}

// below lists the spans with this parent, in order of their beginning.
func (c *collector) below(parent []byte) (found []*spans.Span) {
	for _, s := range c.spans {
		if bytes.Equal(s.ParentSpanId, parent) {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b *spans.Span) int { return int(a.StartTimeUnixNano) - int(b.StartTimeUnixNano) })
	return found
}

func names(all []*spans.Span) (names []string) {
	for _, s := range all {
		names = append(names, s.Name)
	}
	return names
}

// TestTraces: a collector gets the spans of an event that is delivered after a restart,
// and the endpoint the span of each attempt.
func TestTraces(t *testing.T) {
	bin, db := build(t, false), filepath.Join(t.TempDir(), "recapito.db")
	ca, col := newAuthority(t), newCollector(t)
	to := newSink(t, ca)
	var mu sync.Mutex
	var told []string // the traceparents of callbacks
	answer := http.StatusInternalServerError
	to.answer = func(_ string, w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r.Header.Get("traceparent"))
		w.WriteHeader(answer)
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(told)
	}
	flags := []string{"--callback-ca", ca.file, "--retry-schedule=1h,1h,1h", "--traces-endpoint", col.server.URL, "--callback-traceparent"}
	svc := serve(t, bin, db, flags...)
	key := svc.account("acc")
	code, hooked := svc.api("POST", hook, key, callback(to.url("acc")+"?token=confidential"))
	if code != http.StatusCreated {
		t.Fatalf("POST %s: %d %s", hook, code, hooked)
	}
	const trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	r, err := http.NewRequest("POST", svc.url+"/events", strings.NewReader(batch([]string{event("acc", "e1", "m", "SENT")})))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {bearer}, "Content-Type": {"application/json"}, "Traceparent": {"00-" + trace + "-" + caller + "-01"}}
	resp, err := client.Do(r)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("POST /events: %v %v", resp, err)
	}
	resp.Body.Close()
	eventually(t, "the first attempt", func() bool { return count() == 1 })
	eventually(t, "its outcome", func() bool { return metric(t, svc, `recapito_attempts_total{outcome="HTTP_STATUS"}`) == 1 })
	svc.terminate()
	mu.Lock()
	answer = http.StatusNoContent
	mu.Unlock()
	svc = serve(t, bin, db, flags...)
	if code, text := svc.api("PUT", hook, key, callback(to.url("acc")+"?token=confidential")); code != http.StatusOK { // it makes the event due
		t.Fatalf("PUT %s: %d %s", hook, code, text)
	}
	eventually(t, "the second attempt to be recorded", func() bool { return metric(t, svc, `recapito_deliveries{state="DELIVERED"}`) == 1 })
	svc.terminate()

	col.mu.Lock()
	defer col.mu.Unlock()
	parent, _ := hex.DecodeString(caller)
	accepts := col.below(parent)
	if diff := cmp.Diff([]string{"accept"}, names(accepts)); diff != "" {
		t.Fatalf("below the caller's span (-want +got):\n%s", diff)
	}
	accept := accepts[0]
	if got := hex.EncodeToString(accept.TraceId); got != trace {
		t.Errorf("accept is in the trace %s, want the caller's, %s", got, trace)
	}
	if diff := cmp.Diff([]string{"commit"}, names(col.below(accept.SpanId))); diff != "" {
		t.Errorf("below accept (-want +got):\n%s", diff)
	}
	roots := col.below(nil)
	if diff := cmp.Diff([]string{"deliver", "deliver"}, names(roots)); diff != "" {
		t.Fatalf("spans without a parent (-want +got):\n%s", diff)
	}
	for i, deliver := range roots {
		if len(deliver.Links) != 1 || !bytes.Equal(deliver.Links[0].SpanId, accept.SpanId) || !bytes.Equal(deliver.Links[0].TraceId, accept.TraceId) {
			t.Errorf("deliver %d links to %v, want accept", i+1, deliver.Links)
		}
		parts := col.below(deliver.SpanId)
		if diff := cmp.Diff([]string{"wait", "attempt"}, names(parts)); diff != "" {
			t.Fatalf("below deliver %d (-want +got):\n%s", i+1, diff)
		}
		attempt := parts[1]
		if diff := cmp.Diff([]string{"connect", "tls", "first byte"}, names(col.below(attempt.SpanId))); diff != "" {
			t.Errorf("below attempt %d (-want +got):\n%s", i+1, diff)
		}
		if want := fmt.Sprintf("00-%x-%x-01", attempt.TraceId, attempt.SpanId); told[i] != want {
			t.Errorf("callback %d: traceparent %q, want %q", i+1, told[i], want)
		}
		want := map[string]string{"recapito.account": "acc", "recapito.event": "e1", "recapito.attempt": fmt.Sprint(i + 1), "http.response.status_code": []string{"500", "204"}[i]}
		for _, a := range attempt.Attributes {
			if text := a.Value.GetStringValue(); want[a.Key] == text || want[a.Key] == fmt.Sprint(a.Value.GetIntValue()) {
				delete(want, a.Key)
			}
		}
		if len(want) > 0 {
			t.Errorf("attempt %d has %v, and lacks %v", i+1, attempt.Attributes, want)
		}
		if failed := attempt.Status.GetCode() == spans.Status_STATUS_CODE_ERROR; failed != (i == 0) {
			t.Errorf("attempt %d: status %v", i+1, attempt.Status)
		}
	}
	for _, secret := range []string{"confidential", field(t, hooked, "signingSecret"), key, platformKey, to.url("acc")} {
		if bytes.Contains(col.texts, []byte(secret)) {
			t.Errorf("the collector got %q", secret)
		}
	}
}
