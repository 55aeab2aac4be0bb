package egress

import (
	"container/heap"
	"slices"
	"sync"
	"time"
)

const (
	// maxHosts is how many hosts keep connections at a time, and how many TLS
	// sessions are kept: some 5 KiB each (measured with small certificates).
	maxHosts = 8192
	// idlePerHost is how many idle connections a host has at most. It is large because many
	// accounts may share a host, as behind an API gateway, and a connection that
	// is closed for want of room costs a handshake of 0.7 ms.
	idlePerHost = 1024
	// keepAliveMargin is how much earlier than the receiver a connection is given
	// up. The receiver's clock began before the end of its answer arrived here, and
	// the next request takes time to get there.
	keepAliveMargin = time.Second
)

// pool keeps idle connections by host and port. It does not know connections in
// use, nor hosts without an idle connection. It is safe for concurrent use.
type pool struct {
	idleTimeout time.Duration

	mu     sync.Mutex
	hosts  map[string][]*conn // idle; of each host the one that was used last at the end
	due    expiries           // the same connections
	timer  *time.Timer
	wakeAt time.Time // when the timer fires; zero: it does not
	closed bool
}

func newPool(idleTimeout time.Duration) *pool {
	return &pool{idleTimeout: idleTimeout, hosts: map[string][]*conn{}}
}

// take returns the connection that was used last, of those made at since or
// later, or nil.
func (p *pool) take(at string, since time.Time) *conn {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range slices.Backward(p.hosts[at]) {
		if !c.made.Before(since) && now.Before(c.expires) {
			p.remove(c)
			return c
		}
	}
	return nil
}

// put keeps a connection for the next request, or closes it.
func (p *pool) put(c *conn) {
	now := time.Now()
	c.expires = now.Add(p.idleTimeout)
	if c.keepAlive > 0 {
		c.expiresBy(now.Add(c.keepAlive - min(c.keepAlive/2, keepAliveMargin)))
	}
	c.expiresBy(c.dies)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !now.Before(c.expires) {
		c.close()
		return
	}
	idle := p.hosts[c.at]
	if len(idle) == 0 && len(p.hosts) >= maxHosts {
		p.discard(p.hosts[p.due[0].at]...)
	}
	if len(idle) >= idlePerHost {
		p.discard(idle[0])
	}
	p.hosts[c.at] = append(p.hosts[c.at], c)
	heap.Push(&p.due, c)
	p.wakeBy(c.expires)
}

func (c *conn) expiresBy(at time.Time) {
	if at.Before(c.expires) {
		c.expires = at
	}
}

// wakeBy sets the timer, unless it fires earlier. The caller holds mu.
func (p *pool) wakeBy(at time.Time) {
	if !p.wakeAt.IsZero() && !at.Before(p.wakeAt) {
		return
	}
	p.wakeAt = at
	if p.timer == nil {
		p.timer = time.AfterFunc(time.Until(at), p.expire)
	} else {
		p.timer.Reset(time.Until(at))
	}
}

// expire closes the connections whose time has come, and schedules itself for
// the next. It looks at no other.
func (p *pool) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for len(p.due) > 0 && !now.Before(p.due[0].expires) {
		p.discard(p.due[0])
	}
	p.wakeAt = time.Time{}
	if len(p.due) > 0 {
		p.wakeBy(p.due[0].expires)
	}
}

// shed closes all idle connections, to free their file descriptors.
func (p *pool) shed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.discard(p.due...)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.discard(p.due...)
	if p.timer != nil {
		p.timer.Stop()
	}
}

// idle is how many there are.
func (p *pool) idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.due)
}

// discard closes idle connections. The caller holds mu.
func (p *pool) discard(idle ...*conn) {
	for _, c := range slices.Clone(idle) {
		p.remove(c)
		c.close()
	}
}

// remove takes an idle connection out. The caller holds mu.
func (p *pool) remove(c *conn) {
	heap.Remove(&p.due, c.place)
	idle := p.hosts[c.at]
	if len(idle) == 1 {
		delete(p.hosts, c.at)
		return
	}
	i := slices.Index(idle, c)
	p.hosts[c.at] = slices.Delete(idle, i, i+1)
}

// expiries are connections, the one that expires first at the top.
type expiries []*conn

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].expires.Before(e[j].expires) }
func (e expiries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].place, e[j].place = i, j
}

func (e *expiries) Push(x any) {
	c, _ := x.(*conn)
	c.place = len(*e)
	*e = append(*e, c)
}

func (e *expiries) Pop() any {
	last := len(*e) - 1
	c := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	return c
}
