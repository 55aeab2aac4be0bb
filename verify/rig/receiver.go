package rig

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// Receiver receives callbacks in the program itself, which so can compare them with what
// it does meanwhile.
type Receiver struct {
	CA     string // file
	port   int
	server *http.Server
}

// StartReceiver serves what is called with a server, and keeps the certificate of its
// authority in dir. wrap is given each connection, beneath TLS.
func StartReceiver(dir string, server *http.Server, wrap func(net.Conn) net.Conn) (*Receiver, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	r := &Receiver{CA: filepath.Join(dir, "ca.pem"), port: l.Addr().(*net.TCPAddr).Port, server: server}
	server.ErrorLog = log.New(io.Discard, "", 0) // kills break handshakes
	server.TLSConfig = &tls.Config{GetCertificate: ca.certificate}
	go func() { _ = server.ServeTLS(&wrapping{l, wrap}, "", "") }() // until it is closed
	return r, os.WriteFile(r.CA, ca.pem(), 0o600)
}

// URL is a callback URL at the i-th address.
func (r *Receiver) URL(i int, path string) string {
	return fmt.Sprintf("https://%s:%d/%s", endpointHost(i), r.port, path)
}

// Close ends it.
func (r *Receiver) Close() error { return r.server.Close() }

type wrapping struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (w *wrapping) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return w.wrap(c), nil
}
