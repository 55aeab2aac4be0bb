package store

import (
	"errors"
	"fmt"
)

// The settings that tell which secret keys a store needs. The value of each is the
// name of the first one, encrypted.
const (
	// PresentKey is encrypted with the key that the serving process encrypts with.
	PresentKey = "secret-key-check"
	// FormerKey is encrypted with the key before. It is there while something else
	// may be.
	FormerKey = "secret-key-before"
)

var (
	errFormerKey = fmt.Errorf("%w, some with the key before the one given: give both, the new one first, until recapito rekey has ended", ErrSealed)
	// ErrNotServed: [Encrypting.Rekey] comes too early.
	ErrNotServed = errors.New("the service does not encrypt with the new key yet: give it both keys, the new one first, and reload it (SIGHUP) or start it; then run recapito rekey again")
	// ErrKeyChanged: the key was changed while [Encrypting.Rekey] was at work.
	ErrKeyChanged = errors.New("the secret key was changed meanwhile: run recapito rekey again")
)

// Needed returns the value of [PresentKey]; nil: nothing is encrypted. It fails if the
// keys do not read everything. setting reads one, or returns [ErrNotFound].
func (s *Sealer) Needed(setting func(name string) ([]byte, error)) (present []byte, err error) {
	present, err = setting(PresentKey)
	if err == nil {
		_, err = s.Open(present, PresentKey)
	}
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	former, err := setting(FormerKey)
	if errors.Is(err, ErrNotFound) {
		return present, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := s.Open(former, PresentKey); err != nil {
		return nil, errFormerKey
	}
	return present, nil
}

// Noted reports whether the value of [PresentKey] is as it is to be.
func (s *Sealer) Noted(present []byte) bool {
	return s == nil || present != nil && s.Present(present, PresentKey)
}

// Note is the value of [PresentKey].
func (s *Sealer) Note() []byte { return s.Seal([]byte(PresentKey), PresentKey) }

// SecretContext binds a sealed secret of the webhook to its row.
func (w *Webhook) SecretContext() string { return w.AccountID + " " + w.ID }

// URLContext binds its sealed callback URL to its row and column.
func (w *Webhook) URLContext() string { return w.SecretContext() + " callback_url" }

// Reseal encrypts what is kept of a webhook, if it is not as Seal would keep it now.
func (s *Sealer) Reseal(w *Webhook, kept *[]byte, context string) (changed bool, err error) {
	if s.Present(*kept, context) {
		return false, nil
	}
	text, err := s.Open(*kept, context)
	if err != nil {
		return false, fmt.Errorf("the webhook of account %s cannot be read: let the account delete it and register it anew, or restore a backup; then run recapito rekey again: %w", w.AccountID, err)
	}
	*kept = s.Seal(text, context)
	return true, nil
}
