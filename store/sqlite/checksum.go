package sqlite

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/recapito/recapito/store"
)

// This file finds what a disk has changed and SQLite does not notice: in the
// rows from which a callback is made, and in the totals. Clear parts of
// webhooks have a checksum of their own, see [store.Sealer]. The outcomes, the
// lists and the indexes have none; `recapito backup` finds where they do not
// fit each other.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// deliverySum is the checksum of what a callback is made from, and of its
// account.
func deliverySum(account, event, message string, sequence int64, payload []byte) int64 {
	head := make([]byte, 0, 160)
	for _, text := range [...]string{account, event, message} {
		head = append(append(head, text...), 0)
	}
	head = binary.AppendVarint(head, sequence)
	return int64(crc32.Update(crc32.Update(0, castagnoli, head), castagnoli, payload))
}

// fits reports whether a row is as it was written.
func fits(kept sql.NullInt64, sum int64) bool { return !kept.Valid || kept.Int64 == sum }

// sum is of what the row of totals counts.
func (t *totals) sum() int64 {
	b := binary.AppendVarint(binary.AppendVarint(nil, t.lastSeq), t.listed)
	for _, n := range t.count {
		b = binary.AppendVarint(b, n)
	}
	return int64(crc32.Checksum(b, castagnoli))
}

// check returns [store.ErrDamaged] for totals that cannot be. newest is the
// greatest seq that there is.
func (t *totals) check(kept sql.NullInt64, newest int64) error {
	ok := fits(kept, t.sum()) && t.listed <= t.lastSeq && newest <= t.lastSeq
	for _, n := range t.count {
		ok = ok && n >= 0
	}
	if !ok {
		return fmt.Errorf("%w: its totals do not fit what it holds: restore a backup", store.ErrDamaged)
	}
	return nil
}

// damageMet is the damage that was met since the start.
type damageMet struct {
	mu   sync.Mutex
	rows map[string]bool // by what they are
}

// note reports whether it is the first time that the row is met.
func (d *damageMet) note(row string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rows[row] || len(d.rows) >= cacheSize {
		return false
	}
	if d.rows == nil {
		d.rows = map[string]bool{}
	}
	d.rows[row] = true
	return true
}

// met tells the operator of damage, once for each row.
func (s *Store) met(row string) {
	if !s.damage.note(row) {
		return
	}
	s.cfg.Logger.Error("a row in the database is damaged, so the disk may be failing: back up what can be read, replace the disk, restore a backup", "path", s.cfg.Path, "row", row)
}

func (d *damageMet) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.rows)
}
