package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// ErrUnfinished: a store has a mark, and is not to be opened.
var ErrUnfinished = errors.New("a copy into it has not ended: run the same recapito copy again, which goes on with it, or begin with a new one")

// ErrHolds: there is something in the target of a copy that has not begun.
var ErrHolds = errors.New("holds something already, and is not overwritten: copy into a new one")

// ErrChanged: the mark is not as it was.
var ErrChanged = errors.New("another recapito copies into it, or serves it: end that one")

// place is how far a copy has come, as the mark of its target.
type place struct {
	Source string // its state
	Table  string
	Seq    int64  `json:",omitempty"` // the last key: one of these
	ID     string `json:",omitempty"`
}

// after is the last key that was copied of a table.
func (p *place) after(t *Table) any {
	switch {
	case p.Table != t.Name:
		return nil
	case p.Seq != 0:
		return p.Seq
	}
	return p.ID
}

func (p place) reached(t *Table, key any) place {
	p.Table, p.Seq, p.ID = t.Name, 0, ""
	switch key := key.(type) {
	case int64:
		p.Seq = key
	case string:
		p.ID = key
	}
	return p
}

// What one commit holds at most, unless one key has more.
const (
	batchRows  = 10_000
	batchBytes = 16 << 20
)

// Progress is told of how many rows are done, of about how many.
type Progress func(doing string, done, total int64)

// Copy copies, or goes on, and compares. After an error it can be called again.
func Copy(ctx context.Context, from Source, to Target, progress Progress) (Sums, error) {
	return copyIn(ctx, batchRows, from, to, progress)
}

// copyIn copies in batches of so many rows.
func copyIn(ctx context.Context, batch int, from Source, to Target, progress Progress) (Sums, error) {
	c := copying{from: from, to: to, batch: batch, progress: progress}
	if err := c.begin(ctx); err != nil {
		return Sums{}, err
	}
	for _, t := range c.left() {
		if err := c.copy(ctx, t); err != nil {
			return Sums{}, fmt.Errorf("copying the %s: %w", t.Name, err)
		}
	}
	sums, err := c.compare(ctx)
	if err != nil {
		return Sums{}, err
	}
	last, err := from.Last(ctx)
	if err != nil {
		return Sums{}, err
	}
	return sums, to.Finish(ctx, last, c.mark)
}

// copying is a copy under way.
type copying struct {
	from        Source
	to          Target
	batch       int
	progress    Progress
	done, total int64
	place       place
	mark        []byte // as it is in the target
}

// begin finds where to go on.
func (c *copying) begin(ctx context.Context) error {
	state, err := c.from.State(ctx)
	if err != nil {
		return err
	}
	if c.mark, err = c.to.Mark(ctx); err != nil {
		return err
	}
	if c.mark == nil {
		c.place = place{Source: state, Table: Tables[0].Name}
		err = c.put(ctx, Tables[0], nil, c.place)
	} else if err = json.Unmarshal(c.mark, &c.place); err == nil && c.place.Source != state {
		err = errServed
	}
	for _, t := range c.left() {
		if err != nil {
			break
		}
		var n int64
		n, err = c.from.Count(ctx, t, c.place.after(t))
		c.total += n
	}
	return err
}

var errServed = errors.New("the store that is copied has been written to since the copy began, or is another one: begin with a new target")

// left are the tables that are not copied as a whole.
func (c *copying) left() []*Table {
	i := slices.IndexFunc(Tables, func(t *Table) bool { return t.Name == c.place.Table })
	return Tables[max(i, 0):]
}

// copy copies the rest of a table, in batches that end with a key.
func (c *copying) copy(ctx context.Context, t *Table) error {
	var batch []Row
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := c.put(ctx, t, batch, c.place.reached(t, batch[len(batch)-1][0]))
		c.done += int64(len(batch))
		c.progress("copying", c.done, c.total)
		batch, size = nil, 0
		return err
	}
	err := c.from.Rows(ctx, t, c.place.after(t), func(row Row) error {
		if n := len(batch); n > 0 && (n >= c.batch || size >= batchBytes) && batch[n-1][0] != row[0] {
			if err := flush(); err != nil {
				return err
			}
		}
		batch, size = append(batch, row), size+row.size()
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

func (c *copying) put(ctx context.Context, t *Table, rows []Row, to place) error {
	mark, err := json.Marshal(to)
	if err != nil {
		return err
	}
	if err := c.to.Put(ctx, t, rows, c.mark, mark); err != nil {
		return err
	}
	c.place, c.mark = to, mark
	return nil
}

// size is about how many bytes a row has.
func (r Row) size() (n int) {
	for _, v := range r {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		default:
			n += 8
		}
	}
	return n
}
