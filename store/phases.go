package store

import (
	"encoding/binary"
	"time"
	"unicode/utf8"
)

// PackPhases is how an attempt went, for one column: nearly every event has a row with
// it, and each column more costs as much. It is the uvarints of the phases in
// microseconds (rounded up: what was there stays), and of flags; that of the proxy's
// phase, if flagged; then the address. Nil: nothing is known.
func (a *Attempt) PackPhases() []byte {
	if a.Phases == (Phases{}) && !a.Reused && a.Address == "" {
		return nil
	}
	b := make([]byte, 0, 32)
	micros := func(d time.Duration) { b = binary.AppendUvarint(b, uint64((d+time.Microsecond-1)/time.Microsecond)) }
	for _, d := range []time.Duration{a.Phases.DNS, a.Phases.Connect, a.Phases.TLS, a.Phases.FirstByte} {
		micros(d)
	}
	flags := uint64(0)
	if a.Reused {
		flags |= wasReused
	}
	if a.Phases.Proxy > 0 {
		flags |= byProxy
	}
	b = binary.AppendUvarint(b, flags)
	if a.Phases.Proxy > 0 {
		micros(a.Phases.Proxy)
	}
	return append(b, a.Address...)
}

// The flags of an attempt's connection.
const (
	wasReused = 1 << iota
	byProxy
)

// longest is what no phase reaches, in microseconds: twelve days.
const longest = 1 << 40

// UnpackPhases reads it. Of what is not in that form nothing is known.
func (a *Attempt) UnpackPhases(b []byte) {
	var n [6]uint64 // the last one if it is flagged
	for i := range n {
		if i == 5 && n[4]&byProxy == 0 {
			break
		}
		v, size := binary.Uvarint(b)
		if size <= 0 || v > longest {
			return
		}
		n[i], b = v, b[size:]
	}
	if !utf8.Valid(b) {
		return
	}
	micros := func(v uint64) time.Duration { return time.Duration(v) * time.Microsecond }
	a.Phases = Phases{DNS: micros(n[0]), Connect: micros(n[1]), Proxy: micros(n[5]), TLS: micros(n[2]), FirstByte: micros(n[3])}
	a.Reused, a.Address = n[4]&wasReused != 0, string(b)
}
