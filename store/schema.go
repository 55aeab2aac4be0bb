package store

import "fmt"

// NewerSchema says that a store has tables of a newer version than the last one that this
// recapito knows.
func NewerSchema(has, known int64) error {
	return fmt.Errorf("was written by a newer recapito (schema %d; this one knows %d): use that one", has, known)
}

// OlderSchema says that they are of an older version, where they are not brought up to date.
func OlderSchema(has, known int64) error {
	return fmt.Errorf("was written by an older recapito (schema %d; this one knows %d): let this one serve it once, which brings it up to date", has, known)
}
