package store

import "time"

// NodeStats are of one process of those that serve a store together.
type NodeStats struct {
	Live    int    // processes that there are, as of the last look
	Shards  int    // of 256 parts of the accounts, those for which it attempts
	Evicted uint64 // others that it took for dead
	Fenced  uint64 // how often others took it for dead
	// SlowInserts is how often events could not be stored at first, since one was known
	// or another process had just stored one of the same message.
	SlowInserts uint64
	// Lease is for how long attempts may still begin without a further commit.
	Lease time.Duration
	// MarksAge is for how long what it was told has not been made easy to take over.
	MarksAge time.Duration
	// StreamLag is how long ago the other processes had accepted no more than it was told.
	StreamLag time.Duration
	// ClockSkew is by how much its clock is ahead of the store's, as of the last look.
	ClockSkew time.Duration
}
