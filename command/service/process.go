package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/recapito/recapito/dispatcher"
)

// newHTTPServer has limits against clients that are slow to send, slow to read,
// or idle; net/http's zero value has none. The longest answer, the docs page's
// renderer, is 1.2 MiB.
func newHTTPServer(h http.Handler, d *door, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    maxHeader - headerSlop,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	d.attend(s)
	return s
}

// maxHeader is how long a request's header may be. What is made of it takes some
// ten times as much memory, for a client without a key too.
const (
	maxHeader  = 8 << 10
	headerSlop = 4 << 10 // net/http adds it to its limit
)

// process is what runs while the service runs, and the order of its end.
type process struct {
	api, ops                 *http.Server
	apiListener, opsListener net.Listener
	dispatcher               *dispatcher.Dispatcher
	handOver                 func(context.Context) // gives the accounts to other processes; nil: there are none
	draining                 interface{ Store(bool) }
	notify                   func(state string)
	log                      *slog.Logger
}

// drainTimeout is how long requests under way may take at shutdown.
const drainTimeout = 10 * time.Second

// run ends when ctx does, or when a server fails. Everything that it started
// has ended when it returns.
func (p *process) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dispCtx, stopDispatcher := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDispatcher()

	var servers, engine sync.WaitGroup
	serve := func(s *http.Server, l net.Listener) {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			cancel(err)
		}
	}
	servers.Go(func() { serve(p.api, p.apiListener) })
	servers.Go(func() { serve(p.ops, p.opsListener) })
	engine.Go(func() { _ = p.dispatcher.Run(dispCtx) })
	p.notify("READY=1")

	<-ctx.Done()
	p.notify("STOPPING=1")
	p.log.Info("shutting down: finishing requests and attempts under way")
	p.draining.Store(true)
	shut, done := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer done()
	err := p.end(shut, p.api)
	if p.handOver != nil {
		p.handOver(shut)
	}
	stopDispatcher()
	engine.Wait()
	err = errors.Join(err, p.end(shut, p.ops))
	servers.Wait()
	p.log.Info("stopped")
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// end lets requests under way finish while ctx lasts, and cuts off the rest: a
// client that is slow to send is no failure of ours.
func (p *process) end(ctx context.Context, s *http.Server) error {
	err := s.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	p.log.Warn("requests were cut off: their clients were too slow", "after", drainTimeout)
	return s.Close()
}
