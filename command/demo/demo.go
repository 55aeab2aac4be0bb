// Package demo shows the service at work. It starts "recapito serve" as a process and a
// receiver, and feeds the events of two accounts. The endpoint of one of them fails at
// first. The demo fails if a promise was broken. It leaves nothing behind, whatever
// happens.
package demo

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/recapito/recapito/command/feed"
	"github.com/recapito/recapito/command/receiver"
	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/store"
	"github.com/recapito/recapito/store/open"
)

// demoEvents are what the demo hands in: NDJSON, all of account acc_demo.
//
//go:embed events.ndjson
var demoEvents []byte

// demoTimeout ends a demo that hangs; it takes about 8 s, and much longer on a busy machine.
const demoTimeout = 3 * time.Minute

// demo is a service, a receiver with an endpoint for each account, and a
// printer.
type demo struct {
	out      *log.Logger
	errors   *log.Logger
	screen   terminal.Screen
	dir      string // temporary; holds everything that is written
	store    string
	url      string // the receiver's
	mux      *http.ServeMux
	service  *service
	accounts []string // made by this demo

	stopReceiver context.CancelFunc
	receiver     sync.WaitGroup
}

// Run is the whole demo, on the store of a URL; empty: on a temporary one. If it is to be
// kept, it stays when all is shown, until ctx ends.
func Run(ctx context.Context, storeURL string, keep bool, stdout, stderr io.Writer) error {
	began := time.Now()
	stay := ctx
	if !keep {
		stay = nil
	}
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	d := &demo{out: log.New(stdout, "", 0), errors: log.New(stderr, "", 0), screen: terminal.NewScreen(stdout), mux: http.NewServeMux()}
	err := d.show(ctx, stay, storeURL)
	if err := errors.Join(err, d.end(err)); err != nil {
		return err
	}
	d.out.Printf("\nDone in %s; nothing is left behind.\n%s", terminal.Brief(time.Since(began)), byHand(os.Args[0]))
	return nil
}

// show is the demo without its end. It stays until stay ends, unless that is nil.
func (d *demo) show(ctx, stay context.Context, storeURL string) error {
	if err := d.start(ctx, storeURL); err != nil {
		return explain(ctx, err)
	}
	steady, recovering, err := d.endpoints()
	if err != nil {
		return err
	}
	if err := d.play(ctx, steady, recovering); err != nil {
		return explain(ctx, err)
	}
	d.console(stay, steady)
	if err := d.service.stop(); err != nil {
		return err
	}
	d.summary(steady, recovering)
	return errors.Join(steady.verdict(), recovering.verdict())
}

// console says where the console is, and leaves it there until stay ends.
func (d *demo) console(stay context.Context, e *endpoint) {
	d.title("The console: how an endpoint does, and why a callback did not arrive")
	d.step("%s/console", d.service.api)
	if stay == nil {
		d.step("  ends with the service; recapito demo --keep stays")
		return
	}
	d.step("  API key of %s: %s", e.account, e.key)
	d.step("  platform key: %s", d.service.platformKey)
	d.step("  Ctrl-C ends it")
	select {
	case <-stay.Done():
		d.service.gone(time.Second) // Ctrl-C reached it too
	case <-d.service.exited:
	}
}

// start starts the receiver and the service.
func (d *demo) start(ctx context.Context, storeURL string) (err error) {
	if d.dir, err = os.MkdirTemp("", "recapito-demo-"); err != nil {
		return err
	}
	if d.store = storeURL; d.store == "" {
		d.store = "sqlite:" + filepath.Join(d.dir, "recapito.db")
	}
	d.title("recapito serve, on %s, and an HTTPS receiver", strings.SplitN(d.store, ":", 2)[0])
	ca, err := d.receive(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if d.service, err = startService(ctx, d.dir, d.store, ca); err != nil {
		return err
	}
	d.step("recapito serve is ready at %s after %s", d.service.api, terminal.Brief(time.Since(began)))
	d.step("the receiver is ready at %s", d.url)
	return nil
}

// receive starts the receiver and returns the file of its authority.
func (d *demo) receive(ctx context.Context) (caFile string, err error) {
	ca, err := receiver.NewAuthority(time.Now())
	if err != nil {
		return "", err
	}
	cert, err := ca.Issue([]string{"localhost", "127.0.0.1"}, time.Now())
	if err != nil {
		return "", err
	}
	caFile = filepath.Join(d.dir, "ca.pem")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	d.url = "https://" + l.Addr().String()
	// It outlives ctx: the service drains into it.
	ctx, d.stopReceiver = context.WithCancel(context.WithoutCancel(ctx))
	d.receiver.Go(func() { _ = receiver.Serve(ctx, l, cert, d.mux, log.New(d.out.Writer(), "   not received: ", 0)) })
	return caFile, nil
}

// endpoints are the two accounts: one whose endpoint works, and one whose
// endpoint fails the first callback of each message.
func (d *demo) endpoints() (steady, recovering *endpoint, err error) {
	all, err := readBatch(demoEvents, "")
	if err != nil {
		return nil, nil, fmt.Errorf("command/demo/events.ndjson: %w", err)
	}
	if steady, err = newEndpoint("acc_demo", all, 0); err != nil {
		return nil, nil, err
	}
	const recoveringMessages = 5 // fewer than open the breaker
	some, err := readBatch(demoEvents, "acc_recovering")
	if err != nil {
		return nil, nil, err
	}
	recovering, err = newEndpoint("acc_recovering", ofFirstMessages(some, recoveringMessages), recoveringMessages)
	return steady, recovering, err
}

// readBatch reads NDJSON that fits one request.
func readBatch(ndjson []byte, account string) (feed.Batch, error) {
	return feed.NewReader(bytes.NewReader(ndjson), account, feed.MostEvents).Next()
}

// play delivers the events of both endpoints.
func (d *demo) play(ctx context.Context, steady, recovering *endpoint) error {
	d.title("An account, an API key, a callback URL")
	if err := d.register(ctx, steady); err != nil {
		return err
	}
	d.title("%d status events of SMS, RCS and WhatsApp messages: each arrives, signed", len(steady.events))
	if err := d.feed(ctx, steady); err != nil {
		return err
	}
	d.title("An endpoint that is down at first: it answers 503 to %d callbacks, then recovers", recovering.fails)
	if err := d.register(ctx, recovering); err != nil {
		return err
	}
	d.step("the first retry comes after 5 s; later events of a message wait for it")
	return d.feed(ctx, recovering)
}

// explain says why ctx ended, if that is the reason of an error.
func explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("the demo did not end within %v: %w", demoTimeout, err)
	case ctx.Err() != nil:
		return errInterrupted
	}
	return err
}

var errInterrupted = errors.New("interrupted; nothing is left behind")

// end stops what still runs and removes what was written. It shows the
// service's log if the demo failed.
func (d *demo) end(failure error) error {
	d.endService(failure)
	if d.stopReceiver != nil {
		d.stopReceiver()
		d.receiver.Wait()
	}
	err := d.eraseAccounts()
	if d.dir != "" {
		err = errors.Join(err, os.RemoveAll(d.dir))
	}
	return err
}

// endService does not report how the service ended: it has ended before if the
// demo went well, and otherwise the log shows it.
func (d *demo) endService(failure error) {
	if d.service == nil {
		return
	}
	interrupted := errors.Is(failure, errInterrupted)
	if interrupted {
		// Ctrl-C reached the service too. A second signal would cut its
		// shutdown short.
		d.service.gone(time.Second)
	}
	_ = d.service.stop()
	if failure != nil && !interrupted && !errors.Is(failure, errNotStarted) {
		d.errors.Printf("\nThe log of recapito serve:\n%s", d.service.logged())
	}
}

// eraseAccounts removes the demo's accounts from a store that is kept.
func (d *demo) eraseAccounts() (err error) {
	if len(d.accounts) == 0 || !strings.HasPrefix(d.store, "sqlite:") || strings.Contains(d.store, d.dir) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	log := slog.New(slog.NewTextHandler(d.errors.Writer(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	st, err := open.Store(ctx, d.store, open.Config{MustExist: true, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	for _, id := range d.accounts {
		if err := st.DeleteAccount(ctx, id); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (d *demo) title(format string, args ...any) {
	d.out.Printf("\n%s", d.screen.Title(fmt.Sprintf(format, args...)))
}

// indent is before each line below a title.
const indent = "   "

func (d *demo) step(format string, args ...any) {
	d.out.Print(indent + fmt.Sprintf(format, args...))
}
