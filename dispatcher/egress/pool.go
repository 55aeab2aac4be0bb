package egress

import (
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// maxHosts is how many hosts keep connections at a time.
	maxHosts = 8192
	// idlePerHost: many accounts may share a host, as behind an API gateway, and
	// a connection closed for want of a place costs a handshake of 0.7 ms.
	idlePerHost = 1024
)

// pool keeps idle connections by host and port. It is safe for concurrent use.
type pool struct {
	idleTimeout time.Duration

	mu     sync.Mutex
	hosts  map[string]*host
	tidier *time.Timer // nil: nothing is idle
	closed bool
}

// host is a host and port; a dropped one takes no connection back.
type host struct {
	at      string
	idle    []*conn // the longest idle first
	dropped bool
}

func newPool(idleTimeout time.Duration) *pool {
	return &pool{idleTimeout: idleTimeout, hosts: map[string]*host{}}
}

// host returns the one of a URL.
func (p *pool) host(u *url.URL) *host {
	at := hostPort(u)
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[at]
	if h == nil {
		for other := range p.hosts {
			if len(p.hosts) < maxHosts {
				break
			}
			p.discard(other) // any: it costs a handshake
		}
		h = &host{at: at, dropped: p.closed}
		if !p.closed {
			p.hosts[at] = h
		}
	}
	return h
}

// take returns the connection that was used last, or nil.
func (p *pool) take(h *host) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(h.idle)
	if n == 0 {
		return nil
	}
	c := h.idle[n-1]
	h.idle[n-1] = nil
	h.idle = h.idle[:n-1]
	return c
}

// put keeps a connection for the next request, or closes it.
func (p *pool) put(c *conn) {
	c.idleSince = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.host.dropped || len(c.host.idle) >= idlePerHost {
		c.close()
		return
	}
	c.host.idle = append(c.host.idle, c)
	if p.tidier == nil {
		p.tidier = time.AfterFunc(p.idleTimeout, p.tidy)
	}
}

// tidy closes the connections that were idle for long enough, and comes back
// for the next.
func (p *pool) tidy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, next := time.Now(), time.Duration(-1)
	for at, h := range p.hosts {
		n := 0
		for n < len(h.idle) && now.Sub(h.idle[n].idleSince) >= p.idleTimeout {
			h.idle[n].close()
			n++
		}
		h.idle = append([]*conn(nil), h.idle[n:]...)
		if len(h.idle) == 0 {
			delete(p.hosts, at) // one in use finds no way back, and is closed
			h.dropped = true
			continue
		}
		if left := p.idleTimeout - now.Sub(h.idle[0].idleSince); next < 0 || left < next {
			next = left
		}
	}
	p.tidier = nil
	if next >= 0 {
		p.tidier = time.AfterFunc(next, p.tidy)
	}
}

// drop closes a host's idle connections now, and those in use when their
// requests end.
func (p *pool) drop(at string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.discard(at)
}

// shed drops all hosts, for the sake of the files that their connections are.
func (p *pool) shed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.discardAll()
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.discardAll()
	if p.tidier != nil {
		p.tidier.Stop()
		p.tidier = nil
	}
}

// discardAll forgets every host. The caller holds mu.
func (p *pool) discardAll() {
	for at := range p.hosts {
		p.discard(at)
	}
}

// discard forgets a host. The caller holds mu.
func (p *pool) discard(at string) {
	h := p.hosts[at]
	if h == nil {
		return
	}
	delete(p.hosts, at)
	h.dropped = true
	for _, c := range h.idle {
		c.close()
	}
	h.idle = nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
