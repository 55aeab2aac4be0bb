package receiver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Authority is a certificate authority for receivers on this machine. The
// certificates that it issues are valid for leafLife.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// A certificate is valid for longer than anybody develops without a restart, and
// shorter than what TLS clients refuse (398 days). The authority outlives it.
const authorityLife, leafLife = 365 * 24 * time.Hour, 90 * 24 * time.Hour

// authorityName begins the name of each authority, so that no other is taken for
// one.
const authorityName = "recapito listen, "

// NewAuthority makes an authority.
func NewAuthority(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a certificate authority: %w", err)
	}
	cert, err := sign(&x509.Certificate{
		Subject:   pkix.Name{CommonName: authorityName + now.UTC().Format(time.DateTime)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil, key, key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key}, nil
}

// KeepAuthority is the authority that is kept in the file, its key beside it in
// keyFile. It is made if the file is not there. It is made anew, replaced being
// true, if its certificate or its key is lost or it ends within leafLife.
func KeepAuthority(file string, now time.Time) (a *Authority, replaced bool, err error) {
	switch a, err = readAuthority(file); {
	case err == nil && now.Add(leafLife).Before(a.cert.NotAfter):
		return a, false, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, false, err
	}
	_, certErr := os.Stat(file)
	_, keyErr := os.Stat(keyFile(file))
	if a, err = NewAuthority(now); err != nil {
		return nil, false, err
	}
	return a, certErr == nil || keyErr == nil, a.write(file)
}

// keyFile is where the key of an authority is kept.
func keyFile(file string) string { return strings.TrimSuffix(file, ".pem") + ".key" }

// readAuthority returns [fs.ErrNotExist] also if the file is there and its key is
// not.
func readAuthority(file string) (*Authority, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not an authority of recapito listen: name another file", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !cert.IsCA || !strings.HasPrefix(cert.Subject.CommonName, authorityName) {
		return nil, fmt.Errorf("%s is not an authority of recapito listen: name another file", file)
	}
	pair, err := tls.LoadX509KeyPair(file, keyFile(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s is not the key of %s: remove both to have them made anew", keyFile(file), file)
	}
	return &Authority{cert: cert, key: key}, nil
}

// write keeps the authority for the next start; nobody else may read its key.
func (a *Authority) write(file string) error {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return fmt.Errorf("keep the authority: %w", err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := replace(keyFile(file), key, 0o600); err != nil {
		return err
	}
	return replace(file, a.PEM(), 0o644)
}

// replace writes a file anew, whole or not at all.
func replace(file string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Issue makes a server certificate for names and addresses.
func (a *Authority) Issue(hosts []string, now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: hosts[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	cert, err := sign(template, a.cert, key, a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// PEM is the authority's certificate, for --callback-ca.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// sign makes a certificate of key, by parent; nil: by itself.
func sign(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}
