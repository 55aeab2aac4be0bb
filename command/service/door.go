package service

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
)

// door is a listener that accepts a bounded number of connections. At the
// bound, a new connection replaces one that waits for its client: the one that
// has waited longest, of the party that holds the most. A connection whose
// request is being answered stays. So many silent connections, or many that do
// not read, keep nobody out for long; and those without a key, wherever they come
// from, close none of those with one that are fewer.
type door struct {
	net.Listener
	most int
	// scarce closes files that can be spared. It is called when none is left.
	scarce func()

	mu      sync.Mutex
	changed *sync.Cond // a guest has left or begun to wait, or the door is closed
	closed  bool
	guests  int
	parties map[caller]*party
	waiting *list.List // of *guest; the longest first

	answers sync.WaitGroup // handlers under way
}

func newDoor(l net.Listener, most int, scarce func()) *door {
	d := &door{Listener: l, most: most, scarce: scarce, parties: map[caller]*party{}, waiting: list.New()}
	d.changed = sync.NewCond(&d.mu)
	return d
}

// caller is a network that counts as one, with or without a key.
type caller struct {
	from  netip.Prefix
	keyed bool // has sent a request with a valid key on the connection
}

// party are the guests of one caller.
type party struct {
	caller caller
	size   int
}

// guest is a connection that was let in. The door's mutex guards its state.
type guest struct {
	net.Conn
	door  *door
	party *party
	// answering is set while a request's head is complete and its answer is not.
	answering bool
	// blocked counts reads of a body, and writes that wait for the client.
	blocked int
	place   *list.Element // in door.waiting; nil: it does not wait
	gone    bool
}

// Accept implements [net.Listener].
func (d *door) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			d.scarce()
			d.mu.Lock()
			defer d.mu.Unlock()
			d.dismissOne() // the server tries again
		}
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.guests >= d.most && !d.closed {
		if !d.dismissOne() {
			d.changed.Wait()
		}
	}
	if d.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	g := &guest{Conn: c, door: d}
	d.guests++
	g.join(caller{from: networkOf(c)})
	g.settle()
	return g, nil
}

// Close implements [net.Listener].
func (d *door) Close() error {
	d.mu.Lock()
	d.closed = true
	d.changed.Broadcast()
	d.mu.Unlock()
	return d.Listener.Close()
}

// networkOf is where a client is: an IPv4 address, or the /64 of an IPv6 host.
func networkOf(c net.Conn) netip.Prefix {
	at, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	addr := at.Addr().Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	from, _ := addr.Prefix(bits)
	return from
}

// dismissOne closes the connection whose turn it is. False means that none
// waits. The caller holds mu; the requests under way get it while the connection
// is being closed, which waits for its reader.
func (d *door) dismissOne() bool {
	var chosen *guest
	for e := d.waiting.Front(); e != nil; e = e.Next() {
		if g := e.Value.(*guest); chosen == nil || g.party.size > chosen.party.size {
			chosen = g
		}
	}
	if chosen == nil {
		return false
	}
	chosen.leave()
	d.mu.Unlock()
	defer d.mu.Lock()
	_ = chosen.Conn.Close() // its goroutine sees that it is closed
	return true
}

// leave forgets the guest, once. The caller holds mu.
func (g *guest) leave() {
	if g.gone {
		return
	}
	g.gone = true
	d := g.door
	d.guests--
	g.part()
	g.settle()
	d.changed.Signal()
}

// join makes the guest one of a caller's. The caller holds mu.
func (g *guest) join(c caller) {
	p := g.door.parties[c]
	if p == nil {
		p = &party{caller: c}
		g.door.parties[c] = p
	}
	p.size++
	g.party = p
}

// part undoes join. The caller holds mu.
func (g *guest) part() {
	if g.party.size--; g.party.size == 0 {
		delete(g.door.parties, g.party.caller)
	}
}

// hasKey notes that a request with a valid key has come on the connection that
// ctx is a request's of.
func hasKey(ctx context.Context) {
	g, _ := ctx.Value(guestContext{}).(*guest)
	if g == nil {
		return
	}
	g.door.mu.Lock()
	defer g.door.mu.Unlock()
	if c := g.party.caller; !g.gone && !c.keyed {
		g.part()
		g.join(caller{c.from, true})
	}
}

// settle gives the guest its place among those that wait, or takes it away. The
// caller holds mu.
func (g *guest) settle() {
	waits := !g.gone && (!g.answering || g.blocked > 0)
	switch {
	case waits && g.place == nil:
		g.place = g.door.waiting.PushBack(g)
		g.door.changed.Signal()
	case !waits && g.place != nil:
		g.door.waiting.Remove(g.place)
		g.place = nil
	}
}

// Close implements [net.Conn].
func (g *guest) Close() error {
	g.door.mu.Lock()
	g.leave()
	g.door.mu.Unlock()
	return g.Conn.Close()
}

// Write implements [net.Conn]. It waits for the client only if the kernel has no
// room for what is written.
func (g *guest) Write(p []byte) (int, error) {
	n := writeNow(g.Conn, p)
	if n == len(p) {
		return n, nil
	}
	g.block(1)
	defer g.block(-1)
	rest, err := g.Conn.Write(p[n:])
	return n + rest, err
}

func (g *guest) block(n int) {
	g.door.mu.Lock()
	defer g.door.mu.Unlock()
	g.blocked += n
	g.settle()
}

// guestOf finds the guest below TLS; nil: it is none.
func guestOf(c net.Conn) *guest {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	g, _ := c.(*guest)
	return g
}

type guestContext struct{}

// attend tells the door what the server does on each connection.
func (d *door) attend(s *http.Server) {
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if g := guestOf(c); g != nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			g.answering = state == http.StateActive
			if state == http.StateIdle {
				g.blocked = 0
			}
			g.settle()
		}
	}
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, guestContext{}, guestOf(c))
	}
	next := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g, _ := r.Context().Value(guestContext{}).(*guest); g != nil && r.ContentLength != 0 {
			body := &arriving{ReadCloser: r.Body, guest: g}
			r = r.WithContext(r.Context()) // a copy: net/http goes by its own
			r.Body = body
			defer body.abandon()
		}
		d.answers.Add(1)
		defer d.answers.Done()
		next.ServeHTTP(w, r)
	})
}

// arriving is a body that has not arrived yet.
type arriving struct {
	io.ReadCloser
	guest *guest
	ended bool
}

func (b *arriving) Read(p []byte) (int, error) {
	b.guest.block(1)
	defer b.guest.block(-1)
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || err != nil
	return n, err
}

// abandon is called when the request has been answered. If its body has not been
// read to the end, net/http now waits for the rest of it, or a while for the client
// to see the answer.
func (b *arriving) abandon() {
	if !b.ended {
		b.guest.block(1) // until it is idle
	}
}

// Files that connections share out among them.
const (
	// spareFiles are for the store, the listeners, and the connections of the
	// operator.
	spareFiles = 128
	// mostOperator is how many connections the ops address holds.
	mostOperator = 32
	// mostAPI bounds the API's connections, and with them their memory, where the
	// limit of files does not.
	mostAPI = 2048
)

// ShareFiles divides the files that the process may have open (0: no limit is
// known) among the API's connections and the attempts. The attempts get what
// they ask for, except a quarter.
func ShareFiles(limit uint64, maxInFlight int) (api, attempts int) {
	const enough = 1 << 20
	free := int(min(limit, enough)) - spareFiles
	if limit == 0 {
		free = enough
	}
	free = max(free, 32)
	api = min(max(free-maxInFlight, free/4), mostAPI)
	return api, min(maxInFlight, free-api)
}
