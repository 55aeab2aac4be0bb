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

// cursors writes and reads cursors. A cursor is the end of a page: times in
// nanoseconds since 1970 and places in the order of acceptance, 8 bytes each.
// That order includes all accounts and would show the others' volume, so a cursor
// is encrypted (AES-256-GCM), for its listing and its account. That of a listing
// of accounts is a minute, a harm and the last one's ID, for no account.
type cursors struct{ aead cipher.AEAD }

// The listings.
const (
	deliveriesCursor    = "deliveries"
	healthChangesCursor = "health changes"
	attemptsCursor      = "attempts"
	feedCursor          = "feed"
	accountsCursor      = "accounts"
)

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

func (c cursors) write(listing, accountID string, place ...int64) *string {
	b := make([]byte, 0, 8*len(place))
	for _, n := range place {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return new(c.seal(listing, accountID, b))
}

func (c cursors) seal(listing, accountID string, place []byte) string {
	return base64.RawURLEncoding.EncodeToString(c.aead.Seal(nil, nil, place, []byte(listing+" "+accountID)))
}

// read fails with [errBadCursor] for everything that was not written for this
// listing of this account.
func (c cursors) read(text, listing, accountID string, place ...*int64) error {
	b, err := c.open(text, listing, accountID)
	if err != nil || len(b) != 8*len(place) {
		return errBadCursor
	}
	for i, n := range place {
		*n = int64(binary.BigEndian.Uint64(b[8*i:]))
	}
	return nil
}

func (c cursors) open(text, listing, accountID string) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errBadCursor
	}
	b, err := c.aead.Open(nil, nil, sealed, []byte(listing+" "+accountID))
	if err != nil {
		return nil, errBadCursor
	}
	return b, nil
}

// nanos and instant convert times: the zero time is 0.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func instant(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// ofDeliveries is nil if there is nothing after the place.
func (c cursors) ofDeliveries(p store.Place, accountID string) *string {
	if p.Seq == 0 {
		return nil
	}
	return c.write(deliveriesCursor, accountID, nanos(p.AcceptedAt), p.Seq)
}

func (c cursors) toDeliveries(text, accountID string) (p store.Place, err error) {
	var at int64
	err = c.read(text, deliveriesCursor, accountID, &at, &p.Seq)
	p.AcceptedAt = instant(at)
	return p, err
}

// ofAttempts is nil if there is nothing after the place.
func (c cursors) ofAttempts(p store.AttemptPlace, accountID string) *string {
	if p == (store.AttemptPlace{}) {
		return nil
	}
	return c.write(attemptsCursor, accountID, nanos(p.AtFirst.AcceptedAt), p.AtFirst.Seq, nanos(p.Others.At), p.Others.Seq, int64(p.Others.Number))
}

func (c cursors) toAttempts(text, accountID string) (p store.AttemptPlace, err error) {
	var accepted, at, number int64
	err = c.read(text, attemptsCursor, accountID, &accepted, &p.AtFirst.Seq, &at, &p.Others.Seq, &number)
	p.AtFirst.AcceptedAt, p.Others.At, p.Others.Number = instant(accepted), instant(at), int(number)
	return p, err
}

// ofAccounts is nil if the listing is complete.
func (c cursors) ofAccounts(p store.AccountPlace) *string {
	if p == (store.AccountPlace{}) {
		return nil
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(p.Minute))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Harm))
	return new(c.seal(accountsCursor, "", append(b, p.ID...)))
}

func (c cursors) toAccounts(text string) (p store.AccountPlace, err error) {
	b, err := c.open(text, accountsCursor, "")
	if err != nil || len(b) < 16 {
		return p, errBadCursor
	}
	return store.AccountPlace{Minute: int64(binary.BigEndian.Uint64(b)), Harm: int64(binary.BigEndian.Uint64(b[8:])), ID: string(b[16:])}, nil
}
