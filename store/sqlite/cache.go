package sqlite

import (
	"context"
	"sync"

	"github.com/recapito/recapito/store"
)

// cache holds the keys and webhooks that exist: every request needs them, and
// they change rarely. The writer changes it after its commits, before it
// answers them.
type cache struct {
	mu       sync.RWMutex
	changes  int // so far: what was read before one is not kept after it
	keys     map[store.KeyHash]store.APIKey
	webhooks map[string]*store.Webhook // shared; must not be changed
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
	c.keys, c.webhooks = map[store.KeyHash]store.APIKey{}, map[string]*store.Webhook{}
}

func (c *cache) webhook(account string) (w *store.Webhook, changes int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.webhooks[account], c.changes
}

func (c *cache) key(hash store.KeyHash) (k store.APIKey, ok bool, changes int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k, ok = c.keys[hash]
	return k, ok, c.changes
}

// keepWebhook keeps a webhook that was read, unless one was changed since.
func (c *cache) keepWebhook(w *store.Webhook, changes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == changes {
		put(c.webhooks, w.AccountID, w)
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
	if len(tx.webhooks) == 0 && len(tx.stale) == 0 && !tx.keysChanged {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for account, w := range tx.webhooks {
		if w == nil {
			delete(c.webhooks, account)
		} else {
			put(c.webhooks, account, w)
		}
	}
	for _, account := range tx.stale {
		delete(c.webhooks, account)
	}
	if tx.keysChanged {
		clear(c.keys)
	}
}

// lookForOthers empties the cache if another process has written: the commands
// provision accounts and keys beside a running service.
func (w *writer) lookForOthers() {
	var version int64
	if w.damaged || w.conn.QueryRowContext(context.Background(), `PRAGMA data_version`).Scan(&version) != nil {
		return
	}
	if version != w.version {
		w.store.cache.clear()
	}
	w.version = version
}

func copyWebhook(w *store.Webhook) *store.Webhook {
	if w == nil {
		return nil
	}
	return w.Clone()
}
