package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/recapito/recapito/verify/rig"
)

const (
	dnsServer   = "127.0.0.153"
	dnsAccounts = 200 // every second one with a name
	dnsRate     = 200 // events/s
	// dnsRatio is the most by which the p99 of those without a name may grow,
	// or it is below dnsFloor anyway.
	dnsRatio, dnsFloor = 2, 100 * time.Millisecond
)

// dns: names do not resolve for a while.
func dns(l *lab) (found string, err error) {
	if err := needs("unshare", "mount"); err != nil {
		return "", err
	}
	resolver, err := startNameServer()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errCannot, err)
	}
	defer resolver.stop()
	conf := filepath.Join(l.dir, "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver "+dnsServer+"\noptions timeout:1 attempts:2\n"), 0o600); err != nil {
		return "", err
	}
	s, err := l.site(rig.Options{WrapWith: []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, conf}})
	if err != nil {
		return "", err
	}
	defer func() { err = s.end(err) }()
	if err := s.serve(); err != nil {
		return "", err
	}
	if err := s.register(dnsAccounts, func(i int) string {
		if i%2 == 0 {
			return s.sink.Endpoint(rig.OK, i)
		}
		return s.sink.Named(rig.Close, fmt.Sprintf("e%d.example.com", i), i)
	}); err != nil {
		return "", err
	}
	load := s.load(rig.Feed{Batch: 10, Clients: 4, Accounts: dnsAccounts, PerSecond: dnsRate})
	down, calm := 10*time.Minute, 10*time.Second
	if l.Short {
		down, calm = 6*time.Second, time.Second
	}
	before, err := s.phase(calm)
	if err != nil {
		return "", err
	}
	// Half of the time the server is silent, then it says that it has failed.
	resolver.state.Store(dnsSilent)
	time.Sleep(2 * time.Second) // what has been asked already
	during, err := s.phase(down / 2)
	if err != nil {
		return "", err
	}
	resolver.state.Store(dnsFails)
	failing, err := s.phase(down / 2)
	if err != nil {
		return "", err
	}
	n, err := load.end()
	if err != nil {
		return "", err
	}
	waited := s.metric("recapito_backlog")
	resolver.state.Store(dnsAnswers)
	again := time.Now()
	// An open breaker's gap has grown for as long as it failed, to 5 min at most.
	if err := s.settle(n, min(down, 5*time.Minute)+2*time.Minute); err != nil {
		return "", err
	}
	if err := s.once(); err != nil {
		return "", err
	}
	worst := max(during.P99, failing.P99)
	found = fmt.Sprintf("no names for %v, %d events, 0 lost, 0 repeats, %.0f waited; p99 of those without a name %v before, %v silent, %v failing; all delivered %v after names resolved again",
		down, n, waited, before.P99, during.P99, failing.P99, time.Since(again).Round(time.Millisecond))
	switch {
	case waited == 0:
		err = fmt.Errorf("no event waited for a name")
	case worst > dnsRatio*before.P99 && worst > dnsFloor:
		err = l.late("the p99 of those without a name grew to %v", worst)
	}
	return found, err
}

// phase says what has arrived in a while.
func (s *site) phase(while time.Duration) (rig.Counts, error) {
	if err := s.sink.Clear(); err != nil {
		return rig.Counts{}, err
	}
	time.Sleep(while)
	return s.sink.Counts(0)
}

// What a nameServer does.
const (
	dnsAnswers = iota // an address of loopback
	dnsSilent
	dnsFails // SERVFAIL
)

// nameServer answers for every name.
type nameServer struct {
	socket net.PacketConn
	state  atomic.Int32
	ended  chan struct{}
}

func startNameServer() (*nameServer, error) {
	socket, err := net.ListenPacket("udp", net.JoinHostPort(dnsServer, "53"))
	if err != nil {
		return nil, err
	}
	s := &nameServer{socket: socket, ended: make(chan struct{})}
	go s.serve()
	return s, nil
}

func (s *nameServer) stop() {
	_ = s.socket.Close()
	<-s.ended
}

func (s *nameServer) serve() {
	defer close(s.ended)
	buf := make([]byte, 1500)
	for {
		n, from, err := s.socket.ReadFrom(buf)
		if err != nil {
			return
		}
		if state := s.state.Load(); state != dnsSilent {
			if answer, err := nameAnswer(buf[:n], state == dnsFails); err == nil {
				_, _ = s.socket.WriteTo(answer, from) // who asked may be gone
			}
		}
	}
}

func nameAnswer(query []byte, fail bool) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	switch q := m.Questions[0]; {
	case fail:
		m.RCode = dnsmessage.RCodeServerFailure
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 60, 0, 1}},
		}}
	}
	return m.Pack()
}
