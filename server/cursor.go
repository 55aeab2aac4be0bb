package server

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/recapito/recapito/store"
)

// CursorKeySize is the size of [Config.CursorKey], in bytes.
const CursorKeySize = 32

// cursors writes and reads cursors. A cursor is the end of a page: the time of
// acceptance in nanoseconds since 1970 and the place in the order of
// acceptance, 8 bytes each. That order includes all accounts and would show the
// others' volume, so a cursor is encrypted (AES-256-GCM), for its account.
type cursors struct{ aead cipher.AEAD }

const cursorSize = 16

func newCursors(key []byte) (cursors, error) {
	if len(key) != CursorKeySize {
		return cursors{}, errors.New("the key of cursors does not have 32 bytes")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return cursors{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return cursors{aead}, err
}

// write returns the cursor to the place; nil: there is nothing after it.
func (c cursors) write(p store.Place, accountID string) *string {
	if p.Seq == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, cursorSize), uint64(p.AcceptedAt.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Seq))
	text := base64.RawURLEncoding.EncodeToString(c.aead.Seal(nil, nil, b, []byte(accountID)))
	return &text
}

// read fails with [errBadCursor] for everything that was not written for this
// account.
func (c cursors) read(text, accountID string) (store.Place, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return store.Place{}, errBadCursor
	}
	b, err := c.aead.Open(nil, nil, sealed, []byte(accountID))
	if err != nil || len(b) != cursorSize {
		return store.Place{}, errBadCursor
	}
	return store.Place{
		AcceptedAt: time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC(),
		Seq:        int64(binary.BigEndian.Uint64(b[8:])),
	}, nil
}
