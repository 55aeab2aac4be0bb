package postgres

import (
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// admit returns the events that are to be stored, and gives the others their verdicts.
// Where a quota is exceeded it looks what is known: a repeat is told as such.
func (tx *txn) admit(all []candidate, look bool) ([]*candidate, error) {
	room, err := tx.room(all)
	if err != nil {
		return nil, err
	}
	todo, err := tx.distinct(all, look, room)
	if err == nil && !look && room.exceeded() {
		return tx.admit(all, true)
	}
	return todo, err
}

// room is what the quotas of accounts leave; nil: there are no quotas.
type room struct {
	quota    store.Quota
	backlogs map[int64]backlog // by the number of the account
	full     bool
}

// backlog is what waits of an account.
type backlog struct{ events, bytes int64 }

// room reads what waits of the events' accounts: the sum of what the nodes have counted.
// What several of them accept at the same time may exceed a quota together.
func (tx *txn) room(all []candidate) (*room, error) {
	r := &room{quota: tx.w.store.cfg.Quota, backlogs: map[int64]backlog{}}
	if r.quota == (store.Quota{}) || len(all) == 0 {
		return nil, nil
	}
	for i := range all {
		r.backlogs[all[i].no] = backlog{}
	}
	rows, err := tx.w.conn.Query(tx.ctx, lastTallies, slices.Collect(maps.Keys(r.backlogs)))
	if err != nil {
		return nil, err
	}
	var account int64
	var slot int16
	var b []byte
	_, err = pgx.ForEachRow(rows, []any{&account, &slot, &b}, func() error {
		t, err := readTally(b)
		if err == nil {
			of := r.backlogs[account]
			r.backlogs[account] = backlog{of.events + t.Pending(), of.bytes + t.PendingBytes()}
		}
		b = nil
		return err
	})
	return r, err
}

// take reports whether there is room for an event, and takes it.
func (r *room) take(c *candidate) bool {
	if r == nil {
		return true
	}
	b := r.backlogs[c.no]
	b = backlog{b.events + 1, b.bytes + int64(len(c.Payload))}
	if !r.quota.Holds(b.events, b.bytes) {
		r.full = true
		return false
	}
	r.backlogs[c.no] = b
	return true
}

func (r *room) exceeded() bool { return r != nil && r.full }
