// Package memory keeps everything in the process's memory, for tests and trials.
//
// It promises what package store promises, except durability: everything ends with
// the process. It is the reference implementation: simple, and slow where that is
// simpler. It leaves out files and goroutines.
package memory

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"time"

	"github.com/recapito/recapito/store"
)

// Config configures a [Store].
type Config struct {
	Quota store.Quota // of each account
}

// Store implements [store.Store]. It has no goroutines of its own, and tells
// its listener while it holds its lock.
type Store struct {
	mu       sync.Mutex
	quota    store.Quota
	listener store.Listener
	closed   bool
	seq      int64
	accounts map[string]store.Account
	keys     []store.APIKey // oldest first
	webhooks map[string]store.Webhook
	rows     []*row // in order of Seq
	bySeq    map[int64]*row
	byEvent  map[[2]string]*row              // by account and event
	messages map[[2]string][]*row            // by account and message, in order of Seq
	health   map[string][]store.HealthChange // by account, oldest first
	tallies  map[string][]*store.MinuteTally // the same
	minute   int64                           // the present one; it never goes back
	failing  map[string]failure
	notices  map[string]store.Notice // deliveries given up, by account
	settings map[string][]byte
	bulks    []*bulk
	groups   []*group // the oldest first
	totals   map[store.State]int64
}

var _ store.Store = (*Store)(nil)

// row is a delivery with what only the store needs.
type row struct {
	store.Delivery
	channel  string
	part     int
	payload  []byte
	sequence int64
	attempts []store.Attempt
	failedAt time.Time // see store.Delivery
}

// New returns an empty store.
func New(cfg Config) *Store {
	return &Store{
		quota:    cfg.Quota,
		accounts: map[string]store.Account{}, webhooks: map[string]store.Webhook{}, settings: map[string][]byte{}, health: map[string][]store.HealthChange{}, tallies: map[string][]*store.MinuteTally{}, notices: map[string]store.Notice{}, failing: map[string]failure{},
		bySeq: map[int64]*row{}, byEvent: map[[2]string]*row{}, messages: map[[2]string][]*row{},
		totals: map[store.State]int64{},
	}
}

// lock is the beginning of every call.
func (s *Store) lock() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return store.ErrClosed
	}
	return nil
}

// Listen implements [store.Queue].
func (s *Store) Listen(l store.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener = l
}

// May implements [store.Queue]: there is one process.
func (s *Store) May(string) bool { return true }

// Ready implements [store.Readiness].
func (s *Store) Ready(context.Context) error {
	if err := s.lock(); err != nil {
		return err
	}
	s.mu.Unlock()
	return nil
}

// Stats implements [store.Statistics].
func (s *Store) Stats() store.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return store.Stats{Deliveries: maps.Clone(s.totals)}
}

// Close implements [store.Store].
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// Setting implements [store.Settings].
func (s *Store) Setting(_ context.Context, name string) ([]byte, error) {
	if err := s.lock(); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	v, ok := s.settings[name]
	if !ok {
		return nil, store.ErrNotFound
	}
	return bytes.Clone(v), nil
}

// PutSetting implements [store.Settings].
func (s *Store) PutSetting(_ context.Context, name string, value []byte) error {
	if err := s.lock(); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.settings[name] = bytes.Clone(value)
	return nil
}
