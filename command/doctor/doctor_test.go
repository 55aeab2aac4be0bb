//go:build unix

package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)

// want fails the test unless a check found this state, in these words, and says what to
// do about what is not OK.
func want(t *testing.T, all []Finding, check, state, words string) {
	t.Helper()
	for _, f := range all {
		if (f.Do == "") != (f.State == OK) {
			t.Errorf("%s: %s %q: to do: %q, want that of what is not OK alone", f.Check, f.State, f.Found, f.Do)
		}
	}
	for _, f := range all {
		if f.Check == check && f.State == state && strings.Contains(f.Found, words) {
			return
		}
	}
	t.Errorf("got %+v, want %s %s with %q", all, check, state, words)
}

// healthy is a machine on which nothing is wrong.
func healthy(t *testing.T) Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Database: filepath.Join(dir, "recapito.db"), Secrets: []string{filepath.Join(dir, "secret-key")},
		Authorities: someAuthority(), MaxInFlight: 4, Ops: "127.0.0.1:1", Name: "192.0.2.1",
		Integrity: func(context.Context) (string, error) { return "it holds 3 deliveries", nil },
	}
	for _, file := range []string{cfg.Database, cfg.Database + "-wal", cfg.Secrets[0]} {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

func someAuthority() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(&x509.Certificate{Raw: []byte("an authority")})
	return pool
}

func ends(at time.Time) *x509.Certificate {
	return &x509.Certificate{NotBefore: now.Add(-time.Hour), NotAfter: at}
}

func TestHealthyMachine(t *testing.T) {
	cfg := healthy(t)
	all := All(t.Context(), cfg, now)
	for check, words := range map[string]string{
		"service": "none answers", "permissions": "for their user alone", "open files": "4 attempts", "fsync": "syncs of 4 KiB",
		"authorities": "no certificate ends soon", "DNS": "an address", "store": "3 deliveries",
	} {
		want(t, all, check, OK, words)
	}
	if files, err := os.ReadDir(filepath.Dir(cfg.Database)); err != nil || len(files) != 3 {
		t.Errorf("the store's folder afterwards: %v %v, want the three files that were there", files, err)
	}
}

// What is found in no time is found by a start, too.
func TestWhatIsWrongIsFound(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil               func(t *testing.T, cfg *Config)
		check, state, words string
	}{
		"a store that others may read": {func(t *testing.T, cfg *Config) { chmod(t, cfg.Database, 0o644) },
			"permissions", Warning, "may read or write"},
		"a log that a group may read": {func(t *testing.T, cfg *Config) { chmod(t, cfg.Database+"-wal", 0o640) },
			"permissions", Warning, "recapito.db-wal"},
		"a key that others may read": {func(t *testing.T, cfg *Config) { chmod(t, cfg.Secrets[0], 0o604) },
			"permissions", Warning, "secret-key"},
		"a key that is not there": {func(_ *testing.T, cfg *Config) { cfg.Secrets[0] += "x" },
			"permissions", Error, "secret-keyx cannot be read"},
		"a folder that everybody may change": {func(t *testing.T, cfg *Config) { chmod(t, filepath.Dir(cfg.Database), 0o777) },
			"permissions", Warning, "may replace the files"},
		"no folder": {func(_ *testing.T, cfg *Config) { cfg.Database = "/no/such/folder/recapito.db" },
			"permissions", Error, "/no/such/folder"},
		"more attempts than files": {func(_ *testing.T, cfg *Config) { cfg.MaxInFlight = 1 << 24 },
			"open files", Warning, "--max-in-flight is 16777216"},
		"no authority": {func(_ *testing.T, cfg *Config) { cfg.Authorities = x509.NewCertPool() },
			"authorities", Error, "knows no certificate authority"},
		"an authority that has expired": {func(_ *testing.T, cfg *Config) {
			cfg.Added = []*x509.Certificate{ends(now.Add(time.Hour * 24 * 365)), ends(now.Add(-time.Hour))}
		}, "authorities", Error, "has expired on 2026-11-28"},
		"a certificate that ends soon": {func(_ *testing.T, cfg *Config) {
			cfg.Certificate = &tls.Certificate{Leaf: ends(now.Add(13 * 24 * time.Hour))}
		},
			"certificate", Warning, "expires on 2026-12-12"},
		"a certificate of tomorrow": {func(_ *testing.T, cfg *Config) {
			cfg.Certificate = &tls.Certificate{Leaf: &x509.Certificate{NotBefore: now.Add(time.Hour), NotAfter: now.Add(time.Hour * 24 * 90)}}
		}, "certificate", Error, "is valid from"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := healthy(t)
			tt.spoil(t, &cfg)
			want(t, Start(cfg, now), tt.check, tt.state, tt.words)
			want(t, All(t.Context(), cfg, now), tt.check, tt.state, tt.words)
		})
	}
}

func chmod(t *testing.T, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func TestAClockOfThePast(t *testing.T) {
	want(t, Start(healthy(t), time.Unix(0, 0)), "date", Error, "1970-01-01")
}

// A key that a group of its own may read is as a package installs it.
func TestAGroupMayReadAKey(t *testing.T) {
	cfg := healthy(t)
	chmod(t, cfg.Secrets[0], 0o640)
	want(t, Start(cfg, now), "permissions", OK, "")
}

func TestADamagedStoreIsFound(t *testing.T) {
	cfg := healthy(t)
	cfg.Integrity = func(context.Context) (string, error) { return "", errors.New("recapito.db: is damaged") }
	want(t, All(t.Context(), cfg, now), "store", Error, "is damaged")
}

func TestANameThatIsNotFound(t *testing.T) {
	cfg := healthy(t)
	cfg.Name = "no-such-host.invalid"
	for _, f := range All(t.Context(), cfg, now) {
		if f.Check == "DNS" && f.State == OK {
			t.Errorf("got %+v, want it not found", f)
		}
	}
}

// A service that runs is asked, and its own limit counts.
func TestARunningServiceIsAsked(t *testing.T) {
	for name, tt := range map[string]struct {
		ready               int
		metrics             string
		check, state, words string
	}{
		"it is ready":       {200, "recapito_config_last_reload_successful 1\nprocess_open_fds 9\nprocess_max_fds 4096\n", "service", OK, "it is ready"},
		"its limit":         {200, "process_max_fds 150\n", "open files", Warning, "the limit of 150 open files allows"},
		"not ready":         {503, "", "service", Error, "it is not ready: the store cannot write"},
		"a failed reload":   {200, "recapito_config_last_reload_successful 0\n", "service", Warning, "its last reload failed"},
		"nearly no file":    {200, "process_open_fds 3900\nprocess_max_fds 4096\n", "service", Warning, "3900 of its 4096 files are open"},
		"another program":   {404, "prometheus", "service", Error, "no recapito serve"},
		"samples by labels": {200, "recapito_config_last_reload_successful{a=\"b\"} 0\n", "service", OK, "it is ready"},
	} {
		t.Run(name, func(t *testing.T) {
			ops := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/readyz":
					w.WriteHeader(tt.ready)
					_, _ = io.WriteString(w, "the store cannot write\n")
				case tt.metrics == "prometheus":
					_, _ = fmt.Fprint(w, "prometheus_ready 1\n") // it, too, has its port by default
				default:
					_, _ = fmt.Fprint(w, "recapito_slots 100\n"+tt.metrics)
				}
			}))
			t.Cleanup(ops.Close)
			cfg := healthy(t)
			cfg.MaxInFlight, cfg.Ops = 100, strings.TrimPrefix(ops.URL, "http://")
			want(t, All(t.Context(), cfg, now), tt.check, tt.state, tt.words)
		})
	}
}

// A start looks at the store's files while SQLite has them open in the same process.
// Closing a file would end the locks that the process has on it (fcntl(2)), so none is
// opened: a pipe in place of one would keep the look from ending.
func TestTheStoresFilesAreNotOpened(t *testing.T) {
	cfg := healthy(t)
	if err := os.Remove(cfg.Database + "-wal"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(cfg.Database+"-wal", 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan []Finding)
	go func() { done <- Start(cfg, now) }()
	select {
	case all := <-done:
		want(t, all, "permissions", OK, "")
	case <-time.After(time.Minute):
		t.Fatal("the look at the store's files does not end: it has opened one")
	}
}
