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

// platformKeys are the digests of the given keys, or of the one that was made at the
// first start: now, if this is it.
func platformKeys(ctx context.Context, st store.Settings, given []string, generate func() (string, error)) ([]store.KeyHash, error) {
	if len(given) > 0 {
		hashes := make([]store.KeyHash, len(given))
		for i, key := range given {
			hashes[i] = store.HashKey(key)
		}
		return hashes, nil
	}
	kept, err := st.Setting(ctx, platformKeySetting)
	if err == nil && len(kept) == len(store.KeyHash{}) {
		return []store.KeyHash{store.KeyHash(kept)}, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("reading the platform key's digest: %w", err)
	}
	key, err := generate()
	if err != nil {
		return nil, err
	}
	hash := store.HashKey(key)
	if err := st.PutSetting(ctx, platformKeySetting, hash[:]); err != nil {
		return nil, fmt.Errorf("keeping the platform key's digest: %w", err)
	}
	return []store.KeyHash{hash}, nil
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
