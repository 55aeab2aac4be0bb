package command

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/recapito/recapito/command/service"
)

// liveFlags are those whose change a reload puts in force.
var liveFlags = []string{"tls-cert", "tls-key", "callback-ca", "callback-client-cert", "callback-client-key", "secret-key", "secret-key-file", "platform-key", "platform-key-file", "log-level", "env-file"}

// live reads the files that the flags name. Its error says all that is wrong with them.
func (c *serveCmd) live() (service.Live, error) {
	certificate, noCertificate := loadCertificate("--tls-cert", c.TLSCert, c.TLSKey)
	authorities, noAuthorities := loadRoots("--callback-ca", c.CallbackCA)
	clientCertificate, noClientCertificate := loadCertificate("--callback-client-cert", c.CallbackClientCert, c.CallbackClientKey)
	secretKeys, noSecretKeys := c.secretKeys()
	platformKeys, noPlatformKeys := c.platformKeys()
	return service.Live{
		Certificate: certificate, Authorities: authorities, ClientCertificate: clientCertificate, SecretKeys: secretKeys, PlatformKeys: platformKeys, LogLevel: c.LogLevel,
	}, errors.Join(noCertificate, noAuthorities, noClientCertificate, noSecretKeys, noPlatformKeys)
}

// reload parses the configuration anew, and tells which of its changes need a restart.
func (c *serveCmd) reload(conf *configuration, log *slog.Logger) (service.Live, error) {
	command, err := conf.again()
	if err != nil {
		return service.Live{}, err
	}
	now, ok := reflect.TypeAssert[*serveCmd](command.Selected().Target.Addr())
	if !ok {
		return service.Live{}, fmt.Errorf("the command is %s now", command.Command())
	}
	if names := changed(conf.started.Selected().Flags, command.Selected().Flags); len(names) > 0 {
		log.Warn("these flags have changed, and need a restart", "flags", names)
	}
	return now.live()
}

// changed names the flags whose values differ and that are not live.
func changed(before, now []*kong.Flag) (names []string) {
	for i, f := range now {
		if !slices.Contains(liveFlags, f.Name) && !reflect.DeepEqual(f.Target.Interface(), before[i].Target.Interface()) {
			names = append(names, "--"+f.Name)
		}
	}
	return names
}

// loadCertificate reads the certificate of a flag, with its key; nil: none is given.
func loadCertificate(flag, cert, key string) (*tls.Certificate, error) {
	if cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return &pair, nil
}

// loadRoots adds the authorities of a flag's file to the system's.
func loadRoots(flag, file string) (*x509.CertPool, error) {
	roots, err := x509.SystemCertPool() // now: with no file descriptor left it would fail for good
	if err != nil {
		roots = x509.NewCertPool()
	}
	if file == "" {
		return roots, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s %s: holds no certificate in PEM form", flag, file)
	}
	return roots, nil
}
