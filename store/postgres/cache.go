package postgres

import (
	"sync"

	"github.com/recapito/recapito/store"
)

// registration is an account with its webhook. It is shared and must not be changed.
type registration struct {
	account string
	no      int64 // of the account
	shard   int16
	webhook *store.Webhook // nil: it has none
	damage  error          // not nil: it has one that cannot be read
}

// cache holds the keys that exist and the accounts with a webhook: every request
// needs them, and they change rarely. The writer changes it after its commits, before
// it answers them, and when it takes in what other nodes have changed.
type cache struct {
	mu            sync.RWMutex
	changes       int // so far: what was read before one is not kept after it
	keys          map[store.KeyHash]store.APIKey
	registrations map[string]*registration
}

// cacheSize bounds each kind. A full cache is emptied.
const cacheSize = 16384

func newCache() *cache {
	c := &cache{}
	c.clear()
	return c
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.keys, c.registrations = map[store.KeyHash]store.APIKey{}, map[string]*registration{}
}

// cached is an account with its webhook; nil: it is not known. While the lease is not
// valid, others may have changed what is cached without this node.
func (s *Store) cached(account string) (r *registration, version int) {
	c := s.cache
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !s.w.lease.valid() {
		return nil, c.changes
	}
	return c.registrations[account], c.changes
}

func (s *Store) cachedKey(hash store.KeyHash) (k store.APIKey, ok bool, version int) {
	c := s.cache
	c.mu.RLock()
	defer c.mu.RUnlock()
	k, ok = c.keys[hash]
	return k, ok && s.w.lease.valid(), c.changes
}

// version changes with every change.
func (c *cache) version() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.changes
}

// forget forgets some accounts, and the keys as well.
func (c *cache) forget(accounts []string, keys bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for _, account := range accounts {
		delete(c.registrations, account)
	}
	if keys {
		clear(c.keys)
	}
}

// keep keeps a registration with a webhook that was read, unless one was changed
// since.
func (c *cache) keep(r *registration, changes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == changes && r.webhook != nil && r.damage == nil {
		put(c.registrations, r.account, r)
	}
}

func (c *cache) keepKey(k store.APIKey, changes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == changes {
		put(c.keys, k.Hash, k)
	}
}

func put[K comparable, V any](m map[K]V, key K, value V) {
	if len(m) >= cacheSize {
		clear(m)
	}
	m[key] = value
}

// apply updates the cache with a committed transaction.
func (c *cache) apply(tx *txn) {
	if len(tx.webhooks) == 0 && !tx.keysChanged {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for account, r := range tx.webhooks {
		if r == nil {
			delete(c.registrations, account)
		} else {
			put(c.registrations, account, r)
		}
	}
	if tx.keysChanged {
		clear(c.keys)
	}
}
