package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/recapito/recapito/dispatcher/egress"
)

// collector is where spans are sent: OTLP, protobuf over HTTP. It implements
// otlptrace.Client. (The exporter's own has gRPC with it.) What is not taken is lost.
type collector struct {
	url    string
	client interface {
		Do(r *http.Request) (*http.Response, error)
		CloseIdleConnections()
	}
	log     *slog.Logger
	failing atomic.Bool
}

const (
	collectorTimeout = 10 * time.Second
	collectorAnswer  = 64 << 10 // bytes of an answer that are read
)

// CheckCollector returns why a text is not the URL of a collector.
func CheckCollector(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("want the URL of a collector, for example http://127.0.0.1:4318")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("must have no user, query and fragment")
	}
	return nil
}

func newCollector(endpoint string, log *slog.Logger) *collector {
	u, err := url.Parse(endpoint)
	if err == nil && (u.Path == "" || u.Path == "/") {
		endpoint = u.Scheme + "://" + u.Host + "/v1/traces"
	}
	return &collector{url: endpoint, client: egress.Plain(collectorTimeout), log: log}
}

func (c *collector) Start(context.Context) error { return nil }

func (c *collector) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces sends spans. It tells the operator when that begins to fail and when it
// works again, and nobody else.
func (c *collector) UploadTraces(ctx context.Context, all []*spans.ResourceSpans) error {
	err := c.send(ctx, all)
	switch failed := err != nil; {
	case failed == c.failing.Swap(failed):
	case failed:
		c.log.Warn("traces cannot be sent", "endpoint", c.url, "error", err)
	default:
		c.log.Info("traces are sent again", "endpoint", c.url)
	}
	return nil
}

func (c *collector) send(ctx context.Context, all []*spans.ResourceSpans) error {
	body, err := proto.Marshal(&spans.TracesData{ResourceSpans: all}) // as ExportTraceServiceRequest
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := c.client.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, collectorAnswer))
	err = errors.Join(err, resp.Body.Close())
	if resp.StatusCode/100 != 2 {
		err = fmt.Errorf("the collector answers %d", resp.StatusCode)
	}
	return err
}
