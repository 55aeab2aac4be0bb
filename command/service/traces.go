package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/recapito/recapito/dispatcher"
	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// Traces says which traces there are.
type Traces struct {
	Endpoint string  // URL that takes OTLP (protobuf over HTTP); empty: there are none
	Sample   float64 // the share of the batches that are followed if their request does not say
	Callback bool    // callbacks carry a traceparent
}

// traces follow batches and attempts. A batch is a span "accept", a child of what the
// request names, with a child "commit". Its context is kept with its events. An attempt is a
// trace of its own that links to it: a span "deliver", since the event could have been
// attempted, with the children "wait" and "attempt", and of that the phases.
type traces struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	callback bool
}

// stopTraces is how long the last spans may take at the end.
const stopTraces = 5 * time.Second

// newTraces returns nil if there are none.
func newTraces(ctx context.Context, cfg Traces, version string, log *slog.Logger) (*traces, error) {
	if cfg.Endpoint == "" {
		return nil, nil
	}
	own, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "recapito"), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(ctx, newCollector(cfg.Endpoint, log))
	if err != nil {
		return nil, err
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(own),
		sdk.WithSampler(sdk.ParentBased(linked{sdk.TraceIDRatioBased(cfg.Sample)})))
	return &traces{provider: provider, tracer: provider.Tracer("recapito"), callback: cfg.Callback}, nil
}

// close sends what is left.
func (t *traces) close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTraces)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// linked samples a trace that links to another as that is.
type linked struct{ sdk.Sampler }

func (l linked) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	switch {
	case len(p.Links) == 0:
		return l.Sampler.ShouldSample(p)
	case p.Links[0].SpanContext.IsSampled():
		return sdk.SamplingResult{Decision: sdk.RecordAndSample}
	}
	return sdk.SamplingResult{Decision: sdk.Drop}
}

const traceparent = "traceparent"

// read returns a context with the span that a traceparent names, and without if it is none.
func read(text string) context.Context {
	return propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceparent: text})
}

// show is the traceparent of the span of a context.
func show(ctx context.Context) string {
	to := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, to)
	return to[traceparent]
}

// accept implements [server.Follow].
func (t *traces) accept(from string, began time.Time) (kept string, ended func(server.Acceptance)) {
	ctx, span := t.tracer.Start(read(from), "accept", trace.WithTimestamp(began), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", "POST"), attribute.String("http.route", "/events")))
	return show(ctx), func(a server.Acceptance) {
		_, commit := t.tracer.Start(ctx, "commit", trace.WithTimestamp(a.StoredFrom))
		if a.Err != nil {
			commit.SetStatus(codes.Error, "STORE_UNAVAILABLE")
			span.SetStatus(codes.Error, "STORE_UNAVAILABLE")
		}
		commit.End(trace.WithTimestamp(a.StoredTo))
		span.SetAttributes(attribute.Int("recapito.accepted", int(a.Result.Accepted)), attribute.Int("recapito.duplicates", int(a.Result.Duplicates)),
			attribute.Int("recapito.skipped", len(a.Result.Skipped)))
		span.End(trace.WithTimestamp(a.StoredTo))
	}
}

// attempt implements [dispatcher.Follow].
func (t *traces) attempt(f *dispatcher.Followed) (own string, ended func(*store.Outcome)) {
	accepted := trace.SpanContextFromContext(read(f.Delivery.Traceparent))
	if !accepted.IsValid() {
		return "", nil
	}
	ctx, deliver := t.tracer.Start(context.Background(), "deliver", trace.WithTimestamp(f.Due), trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(trace.Link{SpanContext: accepted}))
	_, wait := t.tracer.Start(ctx, "wait", trace.WithTimestamp(f.Due))
	wait.End(trace.WithTimestamp(f.Started))
	ctx, attempt := t.tracer.Start(ctx, "attempt", trace.WithTimestamp(f.Started), trace.WithSpanKind(trace.SpanKindClient))
	if t.callback {
		own = show(ctx)
	}
	if !deliver.IsRecording() {
		return own, nil
	}
	of := []attribute.KeyValue{attribute.String("recapito.account", f.Delivery.AccountID), attribute.String("recapito.event", f.Delivery.EventID)}
	host := f.Host
	return own, func(o *store.Outcome) {
		t.phases(ctx, o.Attempt)
		deliver.SetAttributes(of...)
		deliver.SetAttributes(attribute.String("recapito.state", string(o.State)))
		attempt.SetAttributes(of...)
		attempt.SetAttributes(attributesOf(o.Attempt, host)...)
		if o.Attempt.Error != "" {
			attempt.SetStatus(codes.Error, string(o.Attempt.Error))
		}
		end := trace.WithTimestamp(o.Attempt.At.Add(o.Attempt.Duration))
		attempt.End(end)
		deliver.End(end)
	}
}

// phases are spans, one after the other.
func (t *traces) phases(ctx context.Context, a *store.Attempt) {
	at := a.At
	for _, phase := range [...]struct {
		name string
		took time.Duration
	}{{"dns", a.Phases.DNS}, {"connect", a.Phases.Connect}, {"proxy", a.Phases.Proxy}, {"tls", a.Phases.TLS}, {"first byte", a.Phases.FirstByte}} {
		if phase.took == 0 {
			continue
		}
		_, span := t.tracer.Start(ctx, phase.name, trace.WithTimestamp(at))
		at = at.Add(phase.took)
		span.End(trace.WithTimestamp(at))
	}
}

// attributesOf tells of an attempt what the account may know as well; of the callback URL
// the host alone.
func attributesOf(a *store.Attempt, host string) []attribute.KeyValue {
	all := []attribute.KeyValue{
		attribute.String("http.request.method", "POST"), attribute.String("server.address", host),
		attribute.Int("recapito.attempt", a.Number), attribute.Bool("recapito.probe", a.Probe), attribute.Bool("recapito.connection_reused", a.Reused),
	}
	if a.StatusCode != 0 {
		all = append(all, attribute.Int("http.response.status_code", a.StatusCode))
	}
	if a.Error != "" {
		all = append(all, attribute.String("error.type", string(a.Error)))
	}
	if a.Detail != "" {
		all = append(all, attribute.String("recapito.detail", a.Detail))
	}
	if address, _, err := net.SplitHostPort(a.Address); err == nil {
		all = append(all, attribute.String("network.peer.address", address))
	}
	return all
}
