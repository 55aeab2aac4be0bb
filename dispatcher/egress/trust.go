package egress

import (
	"crypto/tls"
	"crypto/x509"
)

// trust is in some authorities, and what is shown of ours. A connection is used, and a
// TLS session resumed, as long as it is the client's.
type trust struct {
	tls      *tls.Config
	rootless bool             // there is no authority
	own      *tls.Certificate // nil: none
}

func newTrust(roots *x509.CertPool, own *tls.Certificate) *trust {
	return &trust{
		tls: &tls.Config{
			RootCAs: roots, MinVersion: tls.VersionTLS12,
			NextProtos:         []string{"http/1.1"}, // HTTP/2 repeats POSTs by itself
			ClientSessionCache: tls.NewLRUClientSessionCache(maxHosts),
		},
		rootless: roots != nil && roots.Equal(x509.NewCertPool()),
		own:      own,
	}
}

// Trust makes these authorities the trusted ones, nil being the system's, and shows this
// certificate to endpoints that ask for one, nil being none. No request that begins
// after it uses a connection or a TLS session from before. Those under way go on.
func (c *Client) Trust(roots *x509.CertPool, own *tls.Certificate) {
	c.trust.Store(newTrust(roots, own))
	c.pool.shed()
}

// show answers an endpoint that asks for a certificate: with ours, if that is of an
// authority that the endpoint names, or with none.
func (t *trust) show(made *conn, asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if t.own != nil && asked.SupportsCertificate(t.own) == nil {
		made.certificate = ClientCertificateRefused
		return t.own, nil
	}
	made.certificate = ClientCertificateRequired
	return new(tls.Certificate), nil
}
