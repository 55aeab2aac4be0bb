package store

import (
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

// Sealer encrypts signing secrets and callback URLs at rest. Nil keeps them in
// clear.
type Sealer struct{ aead cipher.AEAD }

// NewSealer takes a key of 32 bytes (AES-256-GCM), or none: then it is nil.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) == 0 {
		return nil, nil
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
	return &Sealer{aead: aead}, nil
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
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	out := append([]byte{sealed}, nonce...)
	return s.aead.Seal(out, nonce, secret, []byte(context))
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
	case len(kept) < 1+s.aead.NonceSize():
		return nil, errAnotherKey
	}
	nonce, text := kept[1:1+s.aead.NonceSize()], kept[1+s.aead.NonceSize():]
	secret, err := s.aead.Open(nil, nonce, text, []byte(context))
	if err != nil {
		return nil, errAnotherKey
	}
	return secret, nil
}
