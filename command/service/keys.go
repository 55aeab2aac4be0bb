package service

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/recapito/recapito/server"
	"github.com/recapito/recapito/store"
)

// platformKeySetting names the digest of the platform key that was made at the
// first start.
const platformKeySetting = "platform-key-sha256"

// platformKeyHash is the digest of the given key, or of the one that was made
// at the first start, now if this is it, and shown then.
func platformKeyHash(ctx context.Context, st store.Settings, given string, show func(key string) error) (store.KeyHash, error) {
	if given != "" {
		return store.HashKey(given), nil
	}
	kept, err := st.Setting(ctx, platformKeySetting)
	if err == nil && len(kept) == len(store.KeyHash{}) {
		return store.KeyHash(kept), nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return store.KeyHash{}, fmt.Errorf("reading the platform key's digest: %w", err)
	}
	key := store.NewID("platform_")
	hash := store.HashKey(key)
	if err := st.PutSetting(ctx, platformKeySetting, hash[:]); err != nil {
		return store.KeyHash{}, fmt.Errorf("keeping the platform key's digest: %w", err)
	}
	return hash, show(key)
}

// cursorKeySetting names the key of cursors, which outlive a restart by it.
const cursorKeySetting = "cursor-key"

// keptKey is the key of cursors that was made at the first start, now if this is
// it.
func keptKey(ctx context.Context, st store.Settings) ([]byte, error) {
	key, err := st.Setting(ctx, cursorKeySetting)
	if errors.Is(err, store.ErrNotFound) {
		key = make([]byte, server.CursorKeySize)
		_, _ = rand.Read(key) // never fails
		err = st.PutSetting(ctx, cursorKeySetting, key)
	}
	if err != nil {
		return nil, fmt.Errorf("the key of cursors: %w", err)
	}
	return key, nil
}
