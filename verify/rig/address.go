package rig

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// Ports of [FreeAddr]: above those that browsers refuse, of which 10080 is the last, and below
// those that systems hand out to whoever asks for any.
const firstPort, lastPort = 10_081, 32_000

// claimsAt is where a port is taken for the rest of the process's life, so that no
// other process that asks FreeAddr gets the same. Where loopback is one address
// (macOS), nothing is claimed, and chance alone keeps them apart.
var claimsAt = netip.AddrFrom4([4]byte{127, 255, 255, 254})

var claims struct {
	mu   sync.Mutex
	held []net.Listener
}

// FreeAddr is a loopback address that nobody listens at, and that nobody else is
// given: neither by the system nor by FreeAddr.
func FreeAddr() (string, error) {
	var last error
	for range 1000 {
		port := uint16(firstPort + rand.IntN(lastPort-firstPort))
		claim, err := net.Listen("tcp4", netip.AddrPortFrom(claimsAt, port).String())
		if err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			last = err
			continue
		}
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String()
		l, err := net.Listen("tcp4", addr)
		if err != nil {
			last = err
			if claim != nil {
				_ = claim.Close()
			}
			continue
		}
		claims.mu.Lock()
		defer claims.mu.Unlock()
		claims.held = append(claims.held, claim)
		return addr, l.Close()
	}
	return "", last
}
