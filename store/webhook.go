package store

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"time"
)

// WebhookStatus tells whether a webhook's deliveries are attempted.
type WebhookStatus string

const (
	// Active means that deliveries are attempted.
	Active WebhookStatus = "ACTIVE"
	// Suspended means that the endpoint answered 410. Nothing is attempted until
	// the callback URL is put again.
	Suspended WebhookStatus = "SUSPENDED"
)

// Webhook is the one registration of an account.
type Webhook struct {
	AccountID   string
	ID          string // "wh_…"
	CallbackURL string // as given
	Status      WebhookStatus
	Secret      []byte // signs every attempt
	// OldSecrets are those that rotations have replaced, the newest first. Some
	// may have ended.
	OldSecrets []OldSecret
	// Version counts the changes of this webhook, from 1.
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
	// FirstSeq is the least Seq of this webhook's deliveries. Those before it
	// belonged to an earlier webhook of the account. The store sets it.
	FirstSeq int64
	Health   Health // as it was last recorded; a change of it is none of the webhook
	// MakeDue: it has been put while something was PENDING, and [Upkeep.MakeDue] has
	// not made the last of that due. The store sets it.
	MakeDue bool
}

// OldSecret signs beside the present secret before the time Until.
type OldSecret struct {
	Secret []byte
	Until  time.Time
}

// MaxOldSecrets is how many old secrets of a webhook may sign at a time.
const MaxOldSecrets = 10

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

// SigningSecrets are the secrets that sign an attempt made now, the present one
// first.
func (w *Webhook) SigningSecrets(now time.Time) [][]byte {
	secrets := [][]byte{w.Secret}
	for _, old := range w.OldSecrets {
		if now.Before(old.Until) {
			secrets = append(secrets, old.Secret)
		}
	}
	return secrets
}

// Rotate makes secret the present one and keeps what it replaces until the
// given time, after dropping those that have ended. It returns [ErrTooMany], and
// changes nothing, if there are [MaxOldSecrets] without.
func (w *Webhook) Rotate(secret []byte, until, now time.Time) error {
	old := []OldSecret{{Secret: w.Secret, Until: until}}
	for _, o := range w.OldSecrets {
		if now.Before(o.Until) {
			old = append(old, o)
		}
	}
	if len(old) > MaxOldSecrets {
		return ErrTooMany
	}
	w.Secret, w.OldSecrets = bytes.Clone(secret), old
	return nil
}

// Clone returns a copy that shares nothing.
func (w *Webhook) Clone() *Webhook {
	c := *w
	c.Secret, c.OldSecrets = bytes.Clone(w.Secret), slices.Clone(w.OldSecrets)
	for i := range c.OldSecrets {
		c.OldSecrets[i].Secret = bytes.Clone(c.OldSecrets[i].Secret)
	}
	return &c
}
