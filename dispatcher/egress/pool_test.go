package egress

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// closings makes connections and has the names of those that were closed.
type closings struct {
	mu    sync.Mutex
	names []string
}

func (c *closings) dial(at, name string) *conn {
	now := time.Now()
	return &conn{at: at, plain: &plainConn{name: name, closings: c}, made: now, dies: now.Add(time.Minute)}
}

type plainConn struct {
	net.Conn
	name     string
	closings *closings
}

func (p *plainConn) Close() error {
	p.closings.mu.Lock()
	defer p.closings.mu.Unlock()
	p.closings.names = append(p.closings.names, p.name)
	return nil
}

func (c *closings) want(t *testing.T, names ...string) {
	t.Helper()
	synctest.Wait() // for the pool's timer
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.names, names) {
		t.Errorf("closed so far: %q, want %q", c.names, names)
	}
}

// A host was forgotten when an expiry beside it found its only connection in
// use, which was then closed when it came back.
func TestConnectionInUseDuringAnExpiryIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed closings
		p := newPool(45 * time.Second)
		defer p.close()
		busy := closed.dial("busy", "busy")
		p.put(closed.dial("other", "other"))
		p.put(busy)
		time.Sleep(44 * time.Second)
		if got := p.take("busy", time.Time{}); got != busy {
			t.Fatalf("take = %v, want the one that was put", got)
		}
		time.Sleep(2 * time.Second)
		closed.want(t, "other")
		p.put(busy)
		if got := p.take("busy", time.Time{}); got != busy {
			t.Errorf("take after an expiry = %v, want the one that was in use meanwhile", got)
		}
		closed.want(t, "other")
	})
}

func TestConnectionEndsWithItsIdleTimeOrItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed closings
		p := newPool(45 * time.Second)
		defer p.close()
		p.put(closed.dial("a", "idle"))
		aged := closed.dial("a", "aged")
		dead := closed.dial("b", "dead")
		time.Sleep(20 * time.Second)
		p.put(aged)
		time.Sleep(25*time.Second - time.Nanosecond)
		closed.want(t)
		time.Sleep(time.Nanosecond)
		closed.want(t, "idle")
		time.Sleep(15 * time.Second) // aged has been idle for 40 s and is 60 s old
		closed.want(t, "idle", "aged")
		p.put(dead)
		closed.want(t, "idle", "aged", "dead")
		if got := p.take("a", time.Time{}); got != nil {
			t.Errorf("take = %v, want nil", got)
		}
	})
}

// A receiver that closes what is idle says so: it is given up earlier.
func TestConnectionEndsBeforeTheReceiverClosesIt(t *testing.T) {
	for keepAlive, want := range map[time.Duration]time.Duration{
		time.Second: 500 * time.Millisecond, 2 * time.Second: time.Second, 5 * time.Second: 4 * time.Second,
		time.Minute: 45 * time.Second, 0: 45 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			var closed closings
			p := newPool(45 * time.Second)
			defer p.close()
			c := closed.dial("a", "a")
			c.keepAlive = keepAlive
			p.put(c)
			time.Sleep(want - time.Nanosecond)
			closed.want(t)
			time.Sleep(time.Nanosecond)
			closed.want(t, "a")
		})
	}
}

func TestTakeHonoursWhenItWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed closings
		p := newPool(45 * time.Second)
		defer p.close()
		older := closed.dial("a", "older")
		time.Sleep(time.Second)
		newer := closed.dial("a", "newer")
		p.put(newer)
		p.put(older)
		if got := p.take("a", newer.made); got != newer {
			t.Errorf("take since the newer one was made = %v, want that", got)
		}
		if got := p.take("a", newer.made); got != nil {
			t.Errorf("take since the newer one was made, which is in use = %v, want nil", got)
		}
		if got := p.take("a", time.Time{}); got != older {
			t.Errorf("take of any = %v, want the older", got)
		}
		closed.want(t)
	})
}

// The host whose connection expires first makes room for another; of a host,
// the connection that does.
func TestPoolIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed closings
		p := newPool(45 * time.Second)
		defer p.close()
		for i := range maxHosts + 1 {
			p.put(closed.dial(fmt.Sprint("host ", i), fmt.Sprint(i)))
			time.Sleep(time.Microsecond)
		}
		closed.want(t, "0")
		for i := range idlePerHost + 1 {
			p.put(closed.dial("host 1", fmt.Sprint("1-", i)))
			time.Sleep(time.Microsecond)
		}
		closed.want(t, "0", "1", "1-0")
		if got, want := p.idle(), maxHosts-1+idlePerHost; got != want {
			t.Errorf("%d connections are idle, want %d", got, want)
		}
		p.shed()
		if got := p.idle(); got != 0 {
			t.Errorf("%d connections are idle after all were shed, want 0", got)
		}
		p.close()
		closed.names = nil
		p.put(closed.dial("a", "late"))
		closed.want(t, "late")
	})
}

// A session is kept for as many hosts as the pool has room for: calls that are too rare for a
// connection to stay open do without a whole handshake.
func TestSessionsAreKeptForAsManyHostsAsConnections(t *testing.T) {
	sessions := newTrust(nil, nil).tls.ClientSessionCache
	for i := range maxHosts {
		sessions.Put(fmt.Sprint(i), &tls.ClientSessionState{})
	}
	for i := range maxHosts {
		if _, ok := sessions.Get(fmt.Sprint(i)); !ok {
			t.Fatalf("of %d hosts the session of number %d is forgotten, want all kept", maxHosts, i)
		}
	}
}

// BenchmarkPool: what a request and an expiry cost beside so many hosts.
func BenchmarkPool(b *testing.B) {
	for _, hosts := range []int{10, maxHosts} {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			p := newPool(45 * time.Second)
			b.Cleanup(p.close)
			var closed closings
			for i := range hosts {
				p.put(closed.dial(fmt.Sprint(i), ""))
			}
			b.ReportAllocs()
			for b.Loop() {
				used := p.take(p.due[hosts/2].at, time.Time{})
				p.put(used)
				first := p.due[0]
				first.expires = time.Time{}
				p.expire()
				p.put(closed.dial(first.at, ""))
			}
		})
	}
}
