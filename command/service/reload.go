package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/recapito/recapito/dispatcher/egress"
	"github.com/recapito/recapito/store"
)

// Live is the part of the configuration that can change while the service runs.
type Live struct {
	// Certificate is the API's; nil: plain HTTP.
	Certificate *tls.Certificate
	// Authorities are trusted for callbacks.
	Authorities *x509.CertPool
	// ClientCertificate is shown to endpoints that ask for one; nil: none.
	ClientCertificate *tls.Certificate
	// SecretKeys are the store's, the present one first; empty: none.
	SecretKeys [][]byte
	// PlatformKeys are the platform's; each is as good. Default: the one that was
	// made at the first start, whose digest the store keeps.
	PlatformKeys []string
	LogLevel     slog.Level
}

// reloader puts a configuration that was read anew in place of the one before, all of
// it or nothing.
type reloader struct {
	load    func() (Live, error)
	store   store.Store
	egress  *egress.Client
	level   *slog.LevelVar
	metrics *metrics
	notify  func(state string)
	log     *slog.Logger

	certificate  atomic.Pointer[tls.Certificate]
	platformKeys atomic.Pointer[[]store.KeyHash]
}

// run reloads at each signal until ctx ends.
func (r *reloader) run(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			r.notify("RELOADING=1")
			err := r.reload(ctx)
			r.notify("READY=1")
			r.metrics.configured(err == nil)
			if err != nil {
				r.log.Error("the configuration was not reloaded: the one before stays in force", "error", err)
			} else {
				r.log.Info("the configuration was reloaded")
			}
		}
	}
}

var (
	errTLSChange     = errors.New("--tls-cert: whether the API has TLS is decided at the start alone: start the service again")
	errNoPlatformKey = errors.New("--platform-key-file: there is no platform key any more")
)

// reload does last what cannot fail.
func (r *reloader) reload(ctx context.Context) error {
	live, err := r.load()
	if err != nil {
		return err
	}
	if (live.Certificate == nil) != (r.certificate.Load() == nil) {
		return errTLSChange
	}
	keys, err := platformKeys(ctx, r.store, live.PlatformKeys, func() (string, error) { return "", errNoPlatformKey })
	if err != nil {
		return err
	}
	if encrypting, ok := r.store.(store.Encrypting); ok {
		if err := encrypting.SetSecretKeys(ctx, live.SecretKeys); err != nil {
			return err
		}
	}
	r.platformKeys.Store(&keys)
	r.certificate.Store(live.Certificate)
	r.egress.Trust(live.Authorities, live.ClientCertificate)
	r.level.Set(live.LogLevel)
	return nil
}

// tls is the API's configuration. A connection keeps the certificate that it began
// with.
func (r *reloader) tls() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return r.certificate.Load(), nil },
	}
}
