package store

import (
	"crypto/rand"
	"encoding/base64"
	"time"
)

// WebhookStatus tells whether a webhook's deliveries are attempted.
type WebhookStatus string

const (
	// Active: deliveries are attempted.
	Active WebhookStatus = "ACTIVE"
	// Suspended: the endpoint answered 410; nothing is attempted until the
	// callback URL is put again.
	Suspended WebhookStatus = "SUSPENDED"
)

// Webhook is the one registration of an account.
type Webhook struct {
	AccountID   string
	ID          string // "wh_…"
	CallbackURL string // as given
	Status      WebhookStatus
	Secret      []byte // signs every attempt
	// PreviousSecret signs beside Secret until PreviousUntil, after a rotation.
	PreviousSecret []byte
	PreviousUntil  time.Time
	// Version counts the changes of this webhook, from 1.
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
	// FirstSeq: deliveries with a lesser Seq belonged to an earlier webhook of
	// the account. Set by the store.
	FirstSeq int64
}

// SecretPrefix begins a signing secret's text form (Standard Webhooks).
const SecretPrefix = "whsec_"

// secretSize is the middle of the 24 to 64 bytes that Standard Webhooks asks
// for, and the size of the HMAC's output.
const secretSize = 32

// NewSecret makes a signing secret.
func NewSecret() []byte {
	b := make([]byte, secretSize)
	_, _ = rand.Read(b) // never fails
	return b
}

// SecretText is the form in which a secret is shown: whsec_ and base64.
func SecretText(secret []byte) string {
	return SecretPrefix + base64.StdEncoding.EncodeToString(secret)
}

// SigningSecrets are the secrets that sign an attempt made now: the present
// one and, during a rotation, the previous one.
func (w *Webhook) SigningSecrets(now time.Time) [][]byte {
	if len(w.PreviousSecret) > 0 && now.Before(w.PreviousUntil) {
		return [][]byte{w.Secret, w.PreviousSecret}
	}
	return [][]byte{w.Secret}
}
