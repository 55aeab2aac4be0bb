package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrSealed is returned for a secret that cannot be read without the key that it
// was sealed with.
var ErrSealed = errors.New("the secrets in this store are encrypted")

// What is wrong with the key, or with the secret, and what to do.
var (
	errNoKey      = fmt.Errorf("%w and no --secret-key is given: give the one that encrypted them", ErrSealed)
	errAnotherKey = fmt.Errorf("%w with another --secret-key than the one given, or were altered: give the key that encrypted them", ErrSealed)
	errForm       = errors.New("a secret in this store is kept in a form that this version does not know; --secret-key has no part in it: use the version that wrote it, or restore a backup")
)

// errAltered is of what is kept in clear.
var errAltered = fmt.Errorf("a secret in this store %w", ErrDamaged)

// sum is CRC-32C: it finds what a disk does, not what somebody means to do.
func sum(secret []byte, context string) uint32 {
	return crc32.Update(crc32.Checksum([]byte(context), crc32.MakeTable(crc32.Castagnoli)), crc32.MakeTable(crc32.Castagnoli), secret)
}

// Sealer encrypts signing secrets and callback URLs at rest with one key, and reads
// what others have encrypted. Nil keeps them in clear.
type Sealer struct{ aeads []cipher.AEAD } // the present key's first

// NewSealer takes keys of 32 bytes (AES-256-GCM), the present one first, or none:
// then it is nil.
func NewSealer(keys ...[]byte) (*Sealer, error) {
	var s Sealer
	for _, key := range keys {
		if len(key) == 0 {
			continue
		}
		if len(key) != 32 {
			return nil, fmt.Errorf("the secret key has %d bytes, not 32", len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		s.aeads = append(s.aeads, aead)
	}
	if s.aeads == nil {
		return nil, nil
	}
	return &s, nil
}

const (
	inClear = 0 // without a checksum, as before
	sealed  = 1
	checked = 2 // in clear, behind its checksum
)

// Seal returns the form in which a secret is kept. context names its owner. It
// must be the same for Open, so that rows cannot be swapped.
func (s *Sealer) Seal(secret []byte, context string) []byte {
	if secret == nil {
		return nil
	}
	if s == nil {
		return append(binary.BigEndian.AppendUint32([]byte{checked}, sum(secret, context)), secret...)
	}
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // never fails
	out := append([]byte{sealed}, nonce...)
	return s.aeads[0].Seal(out, nonce, secret, []byte(context))
}

// Open reverses Seal. It returns [ErrSealed] if the key is missing or a
// different one. What was kept in clear needs no key.
func (s *Sealer) Open(kept []byte, context string) ([]byte, error) {
	if len(kept) == 0 {
		return nil, nil
	}
	switch {
	case kept[0] == inClear:
		return append([]byte(nil), kept[1:]...), nil
	case kept[0] == checked:
		if len(kept) < 5 || binary.BigEndian.Uint32(kept[1:]) != sum(kept[5:], context) {
			return nil, errAltered
		}
		return append([]byte(nil), kept[5:]...), nil
	case kept[0] != sealed:
		return nil, errForm
	case s == nil:
		return nil, errNoKey
	}
	for _, aead := range s.aeads {
		if secret, err := opened(aead, kept, context); err == nil {
			return secret, nil
		}
	}
	return nil, errAnotherKey
}

// Present reports whether a secret is kept as Seal would keep it now.
func (s *Sealer) Present(kept []byte, context string) bool {
	switch {
	case len(kept) == 0:
		return true
	case s == nil:
		return kept[0] == checked
	case kept[0] != sealed:
		return false
	}
	_, err := opened(s.aeads[0], kept, context)
	return err == nil
}

// nonceSize is that of GCM.
const nonceSize = 12

// opened decrypts a secret of the form sealed.
func opened(aead cipher.AEAD, kept []byte, context string) ([]byte, error) {
	if len(kept) < 1+nonceSize {
		return nil, errAnotherKey
	}
	return aead.Open(nil, kept[1:1+nonceSize], kept[1+nonceSize:], []byte(context))
}

// Encrypting is a store that keeps signing secrets and callback URLs encrypted.
type Encrypting interface {
	// SetSecretKeys makes it encrypt with the first of the keys, and read what any
	// of them has encrypted. It returns [ErrSealed], and changes nothing, if
	// something could not be read any more.
	SetSecretKeys(ctx context.Context, keys [][]byte) error
	// Rekey encrypts with the first of the keys whatever is not, beside a process
	// that serves the store and encrypts with this key already. When it returns
	// without an error, no other key is needed. Otherwise it can be repeated, and
	// does what is left. progress is told from time to time.
	Rekey(ctx context.Context, progress func(Rekeyed)) error
}

// Rekeyed is how far [Encrypting.Rekey] has come.
type Rekeyed struct {
	Webhooks int // there are, or were at the beginning
	Looked   int // at, so far
	Changed  int // of these
}
