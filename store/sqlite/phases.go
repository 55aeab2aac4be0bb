package sqlite

import (
	"encoding/binary"
	"time"
	"unicode/utf8"

	"github.com/recapito/recapito/store"
)

// phases is how an attempt went, in one column: nearly every event has a row with
// it, and each column more costs as much. It is the uvarints of the phases in
// microseconds (rounded up: what was there stays), and of 1 if the connection was
// reused; then the address. Nil: nothing is known.
func phases(a *store.Attempt) []byte {
	if a.Phases == (store.Phases{}) && !a.Reused && a.Address == "" {
		return nil
	}
	b := make([]byte, 0, 32)
	for _, d := range []time.Duration{a.Phases.DNS, a.Phases.Connect, a.Phases.TLS, a.Phases.FirstByte} {
		b = binary.AppendUvarint(b, uint64((d+time.Microsecond-1)/time.Microsecond))
	}
	reused := uint64(0)
	if a.Reused {
		reused = 1
	}
	return append(binary.AppendUvarint(b, reused), a.Address...)
}

// longest is what no phase reaches, in microseconds: twelve days.
const longest = 1 << 40

// scanPhases reads it. Of what is not in that form nothing is known.
func scanPhases(b []byte, a *store.Attempt) {
	var n [5]uint64
	for i := range n {
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
	a.Phases = store.Phases{DNS: micros(n[0]), Connect: micros(n[1]), TLS: micros(n[2]), FirstByte: micros(n[3])}
	a.Reused, a.Address = n[4] == 1, string(b)
}
