package egress

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// maxTransports is how many hosts keep connections for reuse at a time.
const maxTransports = 8192

// pool has a transport for each host and port: net/http can close the idle
// connections of a whole transport only. It is safe for concurrent use.
type pool struct {
	create func() *http.Transport

	mu         sync.Mutex
	transports map[string]*http.Transport // by host:port
}

func newPool(create func() *http.Transport) *pool {
	return &pool{create: create, transports: map[string]*http.Transport{}}
}

// transport returns the one for a URL's host and port.
func (p *pool) transport(u *url.URL) *http.Transport {
	at := hostPort(u)
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.transports[at]
	if !ok {
		for other := range p.transports {
			if len(p.transports) < maxTransports {
				break
			}
			p.discard(other) // any: it costs a handshake
		}
		t = p.create()
		p.transports[at] = t
	}
	return t
}

// drop discards the transport for a URL's host and port.
func (p *pool) drop(u *url.URL) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.discard(hostPort(u))
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := range p.transports {
		p.discard(at)
	}
}

// discard: the transport closes its idle connections now, and those in use
// when their requests end (one that begins just now leaves its connection to
// the idle timeout, and to nobody's use). The caller holds mu.
func (p *pool) discard(at string) {
	if t, ok := p.transports[at]; ok {
		delete(p.transports, at)
		t.CloseIdleConnections()
	}
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
