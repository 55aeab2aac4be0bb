package prometheus

import (
	"bufio"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// networkBreakages are those of the way to endpoints.
var networkBreakages = []breakage{
	{
		name: "no endpoint can be reached", alert: "RecapitoManyEndpointsFailing",
		spoil: func(s *site, _ *watcher) { s.sink.gate.set(true) },
		mend:  func(s *site, _ *watcher) { s.sink.gate.set(false) },
	},
	{
		name: "the name server fails", alert: "RecapitoNamesNotResolved",
		prepare:  func(s *site) { s.nameless = s.resolver(); s.sink.parting.Store(true) },
		endpoint: (*sink).named,
		spoil:    func(s *site, _ *watcher) { s.nameless.Store(true) },
		mend:     func(s *site, _ *watcher) { s.nameless.Store(false) },
	},
	{
		name: "the machine has no authorities", alert: "RecapitoNoAuthorities",
		spoil: func(s *site, _ *watcher) {
			s.setting("RECAPITO_CALLBACK_CA", "")
			s.run(s.dir+"/bin/systemctl", "restart", "recapito")
		},
		mend: func(s *site, _ *watcher) { s.setting("RECAPITO_CALLBACK_CA", s.dir+"/etc/ca.pem") },
	},
	{
		name: "the proxy is down", alert: "RecapitoEgressFailing",
		prepare: func(s *site) { s.way = s.proxy() },
		spoil:   func(s *site, _ *watcher) { s.way.set(true) },
		mend:    func(s *site, _ *watcher) { s.way.set(false) },
	},
}

// gate is a listener that can be shut: what is connected is cut off, and what connects is
// closed at once.
type gate struct {
	net.Listener
	mu    sync.Mutex
	shut  bool
	conns []net.Conn
}

// Accept implements [net.Listener].
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil || g.keep(c) {
			return c, err
		}
		_ = c.Close()
	}
}

func (g *gate) keep(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.conns = append(g.conns, c)
	}
	return !g.shut
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = nil
}

// sink is the endpoint of every account.
type sink struct {
	*httptest.Server
	gate          *gate
	slow, parting atomic.Bool // 200 ms an answer; each ends its connection
}

func (s *site) newSink() *sink {
	k := &sink{}
	k.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if k.slow.Load() {
			time.Sleep(200 * time.Millisecond)
		}
		if k.parting.Load() {
			w.Header().Set("Connection", "close")
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	k.gate = &gate{Listener: k.Listener}
	k.Listener, k.Config.ErrorLog = k.gate, log.New(io.Discard, "", 0)
	k.StartTLS()
	s.t.Cleanup(k.Close)
	s.write("etc/ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate().Raw})))
	s.setting("RECAPITO_CALLBACK_CA", s.dir+"/etc/ca.pem")
	return k
}

// named is the sink under a name of the account's.
func (k *sink) named(i int) string {
	_, port, _ := net.SplitHostPort(k.Listener.Addr().String())
	return fmt.Sprintf("https://e%d.example.com:%s/", i, port)
}

// resolver gives the service a name server of its own.
func (s *site) resolver() *atomic.Bool {
	s.t.Helper()
	const address = "127.0.0.154"
	socket, err := net.ListenPacket("udp", address+":53")
	s.must(err)
	s.t.Cleanup(func() { _ = socket.Close() })
	failing := new(atomic.Bool)
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer, err := nameAnswer(buf[:n], failing.Load()); err == nil {
				_, _ = socket.WriteTo(answer, from)
			}
		}
	}()
	s.write("etc/resolv.conf", "nameserver "+address+"\noptions timeout:1 attempts:2\n")
	s.wrap = []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, s.dir + "/etc/resolv.conf"}
	return failing
}

// nameAnswer is 127.0.0.1, or that the server has failed.
func nameAnswer(query []byte, failing bool) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	switch q := m.Questions[0]; {
	case failing:
		m.RCode = dnsmessage.RCodeServerFailure
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	return m.Pack()
}

// proxy gives the service a proxy for its callbacks.
func (s *site) proxy() *gate {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	g := &gate{Listener: listener}
	s.t.Cleanup(func() { _ = g.Close() })
	go func() {
		for {
			c, err := g.Accept()
			if err != nil {
				return
			}
			go tunnel(c)
		}
	}()
	s.setting("RECAPITO_EGRESS_PROXY", "http://"+listener.Addr().String())
	return g
}

// tunnel does what CONNECT asks for.
func tunnel(c net.Conn) {
	defer c.Close()
	from := bufio.NewReader(c)
	r, err := http.ReadRequest(from)
	if err != nil {
		return
	}
	to, err := net.Dial("tcp", r.Host)
	if err != nil {
		return
	}
	defer to.Close()
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() { _, _ = io.Copy(to, from) }()
	_, _ = io.Copy(c, to)
}
