package service

import (
	"context"
	"errors"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/recapito/recapito/store"
)

// opsHandler serves the operator: liveness, readiness, metrics and profiles.
type opsHandler struct {
	store    store.Readiness
	metrics  *metrics
	draining atomic.Bool
}

// readyTimeout is how long the store may take to prove that it can write.
const readyTimeout = 2 * time.Second

func (o *opsHandler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("alive\n")) })
	mux.HandleFunc("GET /readyz", o.ready)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func (o *opsHandler) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	switch {
	case o.draining.Load():
		http.Error(w, "draining", http.StatusServiceUnavailable)
	default:
		switch err := o.store.Ready(ctx); {
		case errors.Is(err, store.ErrDamaged):
			http.Error(w, "the store is damaged", http.StatusServiceUnavailable)
		case err != nil:
			http.Error(w, "the store cannot write", http.StatusServiceUnavailable)
		default:
			_, _ = w.Write([]byte("ready\n"))
		}
	}
}
