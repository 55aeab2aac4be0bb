// Package transfer copies everything that a store keeps into another one, of the same
// kind or another.
//
// It promises that a copy that has ended holds what its source held, row by row: it has
// compared them. One that was interrupted goes on where it was, and until it has ended
// nobody serves its target. The source is only read.
//
// It leaves out stores that are served meanwhile, and what is left of an account whose
// erasure has begun: that is not copied.
package transfer

import "context"

// Table is a part of what is kept, in the form that all stores have in common: their own
// may be other.
type Table struct {
	Name string
	// Columns begin with the key, by which the rows are in order: that of a text in order
	// of its bytes. Several rows may have the same key.
	Columns []string
}

// First is what all keys of the table are greater than, if after is nil, or else after.
func (t *Table) First(after any) any {
	switch {
	case after != nil:
		return after
	case t.Columns[0] == "seq":
		return int64(0)
	}
	return ""
}

// Row is a row of a table: for each column an int64, a string or a []byte. What a store
// keeps as NULL is empty.
type Row []any

// Tables are all that is kept. Times are microseconds since 1970, secrets and URLs are
// sealed, if they are, and a bool is 0 or 1.
var Tables = []*Table{
	{"settings", []string{"name", "value"}},
	{"accounts", []string{"account", "created_at"}},
	{"api_keys", []string{"account", "hash", "id", "hint", "created_at", "expires_at"}},
	{"webhooks", []string{"account", "id", "callback_url", "status", "secret", "version", "first_seq", "created_at", "updated_at", "health", "health_since", "health_version", "make_due"}},
	{"old_secrets", []string{"account", "version", "secret", "until"}},
	{"health_changes", []string{"account", "number", "at", "from_state", "to_state", "error", "status_code", "webhook_id", "version"}},
	{"notices", []string{"account", "webhook_id", "at", "due_at", "deliveries"}},
	{"failing_endpoints", []string{"account", "webhook_id", "version", "at", "error", "status_code", "due_at"}},
	// What was counted of an account by the end of a minute, see store.Tally.Append.
	{"tallies", []string{"account", "minute", "tally"}},
	{"replays", []string{"account", "id", "group_id", "query", "asked", "started_at", "state", "ended_at", "matched", "replayed", "damaged", "accepted_at", "seq"}},
	{"replay_groups", []string{"id", "accounts", "query", "asked", "started_at", "state", "ended_at", "skipped", "after"}},
	// The payload of one that is damaged is empty.
	{"deliveries", []string{"seq", "account", "event_id", "message_id", "channel", "part", "sequence", "payload", "accepted_at", "traceparent"}},
	// Those that acknowledged a delivery at first are not apart: they are found by it.
	{"outcomes", []string{"seq", "account", "number", "at", "duration", "status_code", "error", "response", "probe", "failures", "state", "ended_at", "phases", "detail", "location", "header", "apart"}},
	// All that is PENDING, the fresh ones too.
	{"waiting", []string{"seq", "account", "due_at", "replayed_at", "attempts", "webhook_id"}},
}

// Source is a store that is copied or compared. Nobody serves it while it is open.
type Source interface {
	// State is another one after any write by those who serve it, or by a command.
	State(ctx context.Context) (string, error)
	// Last is the seq up to which all may have been given to deliveries, or to readers of
	// the feed as a cursor.
	Last(ctx context.Context) (int64, error)
	// Count is about how many rows of a table follow a key; nil: all.
	Count(ctx context.Context, t *Table, after any) (int64, error)
	// Rows calls visit for these rows, in order of the key, and ends with its error.
	Rows(ctx context.Context, t *Table, after any, visit func(Row) error) error
	Close() error
}

// Target is a store that is copied into. It has a mark while a copy has begun and has
// not ended, and then nothing else opens it.
type Target interface {
	Source
	// Mark is the one of the last [Target.Put]. nil: no copy has begun, and the store
	// holds nothing.
	Mark(ctx context.Context) ([]byte, error)
	// Put adds rows, and sets the mark in the same commit. It fails if the mark before is
	// not as it was.
	Put(ctx context.Context, t *Table, rows []Row, before, mark []byte) error
	// Finish makes the store one that can be served, and removes the mark, in one commit.
	// All that will be given gets a seq beyond last.
	Finish(ctx context.Context, last int64, before []byte) error
}

// Mark is the name of the setting that holds it. It is not copied.
const Mark = "copy"
