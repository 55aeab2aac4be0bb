package rig

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"

	"github.com/recapito/recapito/verify/rig/hostile"
)

// Crowd are the receivers of [crowd] in a process of their own.
type Crowd struct {
	*Child
	Receivers []HostileReceiver
}

// HostileReceiver is one of a crowd.
type HostileReceiver struct{ Name, URL string }

type crowdAddress struct {
	Receivers []HostileReceiver
	CA        []byte
}

// StartCrowd starts one and adds its authority to those of the file ca.
func StartCrowd(ca string) (*Crowd, error) {
	var address crowdAddress
	process, err := spawn("crowd", &address)
	if err != nil {
		return nil, err
	}
	c := &Crowd{Child: process, Receivers: address.Receivers}
	known, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	return c, os.WriteFile(ca, append(known, address.CA...), 0o600)
}

// crowdMain is the crowd's process: the receivers share a port, and each has
// an address of its own.
func crowdMain() error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return err
	}
	full, end, err := hostile.FullBacklog([4]byte{127, 200, 1, 1})
	if err != nil {
		return err
	}
	defer end()
	nobody, err := FreeAddr()
	if err != nil {
		return err
	}
	address := crowdAddress{CA: ca.pem(), Receivers: []HostileReceiver{
		{"connecting hangs", "https://" + full + "/"},
		{"nobody listens", "https://" + nobody + "/"},
	}}
	serve := map[string]func(net.Conn){}
	for i, r := range crowd() {
		host := fmt.Sprintf("127.200.0.%d", i+1)
		if serve[host], err = r.server(ca, host); err != nil {
			return err
		}
		address.Receivers = append(address.Receivers, HostileReceiver{r.name, fmt.Sprintf("https://%s:%d/status", host, l.Addr().(*net.TCPAddr).Port)})
	}
	if err := json.NewEncoder(os.Stdout).Encode(address); err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }()
			serve[c.LocalAddr().(*net.TCPAddr).IP.String()](c)
		}()
	}
}

// server returns what owns the receiver's connections.
func (r *crowdReceiver) server(ca *authority, host string) (func(net.Conn), error) {
	if r.raw != nil {
		return r.raw, nil
	}
	cert, err := ca.issue(host, r.spoil)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{*cert}}
	if r.tls != nil {
		r.tls(cfg)
	}
	return func(c net.Conn) {
		session := tls.Server(c, cfg)
		if session.Handshake() == nil {
			r.serve(&hostile.Session{Conn: session, In: bufio.NewReader(session)})
		}
	}, nil
}
