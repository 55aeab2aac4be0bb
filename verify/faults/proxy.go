package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// proxy is between a node and its database. It can freeze, and lose the answers to
// commits.
type proxy struct {
	net.Listener
	to   atomic.Pointer[string]
	lose atomic.Int32 // answers that it is still to lose
	lost atomic.Int32
	mu   sync.RWMutex // held for writing while it is frozen
}

func newProxy(port int) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{Listener: l}
	p.lead(port)
	go p.run()
	return p, nil
}

// lead says where new connections lead.
func (p *proxy) lead(port int) {
	to := fmt.Sprint("127.0.0.1:", port)
	p.to.Store(&to)
}

func (p *proxy) run() {
	for {
		in, err := p.Accept()
		if err != nil {
			return // it is closed
		}
		go p.join(in)
	}
}

// join brings a connection to the database.
func (p *proxy) join(in net.Conn) {
	p.mu.RLock() // nothing is answered while it is frozen
	out, err := net.Dial("tcp", *p.to.Load())
	p.mu.RUnlock()
	if err != nil {
		_ = in.Close()
		return
	}
	go func() { _, _ = io.Copy(&ear{p, out}, in); _ = out.Close() }()
	_, _ = io.Copy(&mouth{p, in}, out)
	_, _ = in.Close(), out.Close()
}

// freeze keeps everything back, in both directions, until thaw.
func (p *proxy) freeze() { p.mu.Lock() }

func (p *proxy) thaw() { p.mu.Unlock() }

// ear is what the database hears.
type ear struct {
	p  *proxy
	to net.Conn
}

func (e *ear) Write(b []byte) (int, error) {
	e.p.mu.RLock()
	defer e.p.mu.RUnlock()
	return e.to.Write(b)
}

// mouth is what it says.
type mouth struct {
	p  *proxy
	to net.Conn
}

func (m *mouth) Write(b []byte) (int, error) {
	m.p.mu.RLock()
	defer m.p.mu.RUnlock()
	if m.p.lose.Load() > 0 && bytes.Contains(b, []byte("COMMIT\x00")) {
		m.p.lose.Add(-1)
		m.p.lost.Add(1)
		return 0, io.ErrClosedPipe // the connection ends; the commit has been done
	}
	return m.to.Write(b)
}
