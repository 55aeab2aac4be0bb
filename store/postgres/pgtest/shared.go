package pgtest

import (
	"sync"
	"sync/atomic"
	"testing"
)

// used is whether the server of Database was asked for.
var used atomic.Bool

var shared = sync.OnceValues(Start)

// Shared is the server of all tests of the package.
func Shared(t testing.TB) *Server {
	t.Helper()
	used.Store(true)
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Database is a fresh database in it.
func Database(t testing.TB) string {
	t.Helper()
	return Shared(t).Database(t)
}
