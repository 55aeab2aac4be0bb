package store

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"math/big"
	"strings"
	"time"
)

// Account is a tenant. Its ID is the platform's: 1 to 64 characters of
// A–Z a–z 0–9 . _ ~ : @ -.
type Account struct {
	ID        string
	CreatedAt time.Time
}

// KeyHash is the SHA-256 of the text of an API key.
type KeyHash [sha256.Size]byte

// HashKey digests a key as it is in the request header.
func HashKey(key string) KeyHash { return sha256.Sum256([]byte(key)) }

// APIKey is a credential of an account. The key itself is shown once, when it
// is made, and never kept.
type APIKey struct {
	AccountID string
	ID        string // "key_…"
	Hash      KeyHash
	Hint      string // the key's last four characters; empty if it was imported
	CreatedAt time.Time
	ExpiresAt time.Time // when it ends by itself; zero: never. Whoever asks for it compares.
}

// Expired reports whether a key has ended by itself.
func (k *APIKey) Expired(now time.Time) bool {
	return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt)
}

// KeyPrefix begins every API key that Recapito makes. People and scanners for
// leaked secrets recognise it.
const KeyPrefix = "rcp_"

const (
	base62    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	keyRandom = 30 // base62 characters, 178 bits
	keyCheck  = 6  // base62 characters of CRC-32
)

// NewKey makes an API key: [KeyPrefix], 30 random base62 characters and the
// CRC-32 (IEEE) of those 30 in six more, the form that GitHub's tokens have.
func NewKey() string {
	b := make([]byte, keyRandom)
	for i := range b {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(base62))))
		if err != nil {
			panic(err) // crypto/rand never fails
		}
		b[i] = base62[n.Int64()]
	}
	return KeyPrefix + string(b) + checksum(string(b))
}

// ErrMalformedKey: a key that begins with [KeyPrefix] was mistyped or cut.
var ErrMalformedKey = errors.New("malformed API key")

// CheckKey returns [ErrMalformedKey] for a text that cannot be a key, without
// asking the store. Keys without [KeyPrefix] are foreign (imported by their
// digest) and pass if they are 1 to 512 characters of visible ASCII.
func CheckKey(key string) error {
	if key == "" || len(key) > 512 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ErrMalformedKey
	}
	rest, ours := strings.CutPrefix(key, KeyPrefix)
	if !ours {
		return nil
	}
	if len(rest) != keyRandom+keyCheck || checksum(rest[:keyRandom]) != rest[keyRandom:] {
		return ErrMalformedKey
	}
	return nil
}

func checksum(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	out := make([]byte, keyCheck)
	for i := keyCheck - 1; i >= 0; i-- {
		out[i] = base62[sum%62]
		sum /= 62
	}
	return string(out)
}

// NewID makes an identifier of 130 random bits behind a prefix such as "wh_".
func NewID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }
