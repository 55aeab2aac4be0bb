package store

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"
)

// ReplayGroup sends again what a query lists of several accounts, or of all: it begins a
// bulk replay of each, a bounded number at a time, in order of their IDs.
type ReplayGroup struct {
	ID        string        // "rpg_…"
	Accounts  []string      // in order, each once; nil: all
	Query     DeliveryQuery // as [BulkReplay.Query]
	Asked     []byte        // as [BulkReplay.Asked]
	StartedAt time.Time
	State     ReplayState // RUNNING, DONE or STOPPED
	EndedAt   time.Time   // zero: it goes on
	// Skipped accounts are unknown, or had no webhook or a bulk replay of their own.
	Skipped int64
	Sum     ReplaySum
}

// ReplaySum is what the bulk replays of a group have come to together.
type ReplaySum struct {
	Begun, Running                       int64 // of accounts
	Matched, SentAgain, Damaged, Changed int64 // of deliveries
}

// Add adds one of them.
func (s *ReplaySum) Add(r *BulkReplay) {
	s.Begun++
	if r.EndedAt.IsZero() {
		s.Running++
	}
	s.Matched += r.Matched
	s.SentAgain += r.SentAgain()
	s.Damaged += r.Damaged
	s.Changed += r.Changed()
}

// Remaining is how many have not been attempted, and would be.
func (s *ReplaySum) Remaining() int64 {
	return max(0, s.Matched-s.SentAgain-s.Damaged-s.Changed)
}

// MaxGroupRunning bulk replays of a group go on at a time.
const MaxGroupRunning = 100

// MemberID is the ID of the bulk replay of an account that belongs to a group. It is
// the same each time, so that a step that is repeated begins none twice.
func MemberID(groupID, accountID string) string {
	sum := sha256.Sum256([]byte(groupID + " " + accountID))
	return "rpl_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}
