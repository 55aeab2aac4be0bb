package rig

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Raw is a loop that does nothing but POST with Go's net/http, HTTP/1.1 with
// keep-alive over TLS, in a process of its own. Throughput is compared with it.
type Raw struct {
	URLs       []string
	CA         string // file; none: plain
	Method     string
	Header     http.Header
	Body       string
	Requests   int
	InFlight   int
	PerSecond  float64 // pace; 0: as fast as answers come
	WantStatus int
}

// RawResult is what a loop measured of itself.
type RawResult struct {
	PerSecond float64
	CPU       time.Duration // of the client, per request
	P50, P99  time.Duration
}

// Run starts the process and waits for its result.
func (r Raw) Run() (RawResult, error) {
	var res RawResult
	cmd, err := child("raw")
	if err != nil {
		return res, err
	}
	order, err := json.Marshal(r)
	if err != nil {
		return res, err
	}
	cmd.Stdin = bytes.NewReader(order)
	out, err := cmd.Output()
	if err != nil {
		return res, err
	}
	return res, json.Unmarshal(out, &res)
}

// CallbackBody is a callback's usual body.
var CallbackBody = `{"eventId":"evt_12345_1795000000000000000","version":1,"eventType":"message.sent","accountId":"acc12","messageId":"9c1f6a5e-52b0-4c41-12345","customerMessageId":"order-12345","channel":"SMS","destination":"+393401234567","status":"SENT","final":false,"statusRank":20,"description":"Handed to the operator","timestamp":"2026-11-20T10:30:00.000Z","receivedAt":"2026-11-20T10:30:00.000Z","sequence":12345}`

// CallbackHeader is a callback's header but for the id, which the sink would
// count.
var CallbackHeader = http.Header{
	"Content-Type": {"application/json"}, "User-Agent": {"Recapito/bench"}, "Webhook-Attempt": {"1"},
	"Webhook-Timestamp": {"1795000000"}, "Webhook-Signature": {"v1," + strings.Repeat("x", 43) + "="},
}

func rawMain() error {
	var r Raw
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: r.InFlight}
	if r.CA != "" {
		pem, err := os.ReadFile(r.CA)
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	client := &http.Client{Transport: transport}
	if err := r.loop(client, 4*max(len(r.URLs), r.InFlight), nil); err != nil { // connections
		return err
	}
	took := make([]time.Duration, r.Requests)
	before, begin := ownCPU(), time.Now()
	if err := r.loop(client, r.Requests, took); err != nil {
		return err
	}
	elapsed := time.Since(begin)
	p50, p99, _ := Quantiles(took)
	return json.NewEncoder(os.Stdout).Encode(RawResult{
		PerSecond: float64(r.Requests) / elapsed.Seconds(),
		CPU:       (ownCPU() - before) / time.Duration(r.Requests), P50: p50, P99: p99,
	})
}

func (r *Raw) loop(client *http.Client, n int, took []time.Duration) error {
	start := time.Now()
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for range r.InFlight {
		workers.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if r.PerSecond > 0 {
					time.Sleep(time.Until(start.Add(time.Duration(float64(i) / r.PerSecond * float64(time.Second)))))
				}
				begin := time.Now()
				if err := r.once(client, r.URLs[i%len(r.URLs)]); err != nil {
					failed.Store(&err)
					return
				}
				if took != nil {
					took[i] = time.Since(begin)
				}
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *Raw) once(client *http.Client, url string) error {
	req, err := http.NewRequest(r.Method, url, strings.NewReader(r.Body))
	if err != nil {
		return err
	}
	req.Header = r.Header.Clone()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != r.WantStatus {
		err = &statusError{url: url, code: resp.StatusCode, answer: string(answer)}
	}
	return err
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
