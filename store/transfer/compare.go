package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Sum is a checksum of rows, in whatever order.
type Sum struct {
	Rows int64
	Hash [2]uint64 // the sums of two parts of the rows' SHA-256
}

// Sums are those of each account; "" is what belongs to none.
type Sums struct {
	ByAccount map[string]Sum
	Rows      map[string]int64 // by table
}

// compareGap is how many rows are read between two calls of Progress.
const compareGap = 1000

// SumsOf reads a whole store. step is told of rows as they are read.
func SumsOf(ctx context.Context, s Source, step func(rows int64)) (Sums, error) {
	sums := Sums{ByAccount: map[string]Sum{}, Rows: map[string]int64{}}
	var text []byte
	for _, t := range Tables {
		account := slices.Index(t.Columns, "account")
		n := int64(0)
		err := s.Rows(ctx, t, nil, func(row Row) error {
			of := ""
			if account >= 0 {
				of = row[account].(string)
			}
			text = row.encode(append(text[:0], t.Name...))
			sum, digest := sums.ByAccount[of], sha256.Sum256(text)
			sum.Rows++
			for i := range sum.Hash {
				sum.Hash[i] += binary.BigEndian.Uint64(digest[8*i:])
			}
			sums.ByAccount[of] = sum
			if n++; n%compareGap == 0 {
				step(compareGap)
			}
			return nil
		})
		if err != nil {
			return sums, fmt.Errorf("reading the %s: %w", t.Name, err)
		}
		sums.Rows[t.Name] = n
		step(n % compareGap)
	}
	return sums, nil
}

// encode appends what no other row of the table has.
func (r Row) encode(b []byte) []byte {
	for _, v := range r {
		switch v := v.(type) {
		case int64:
			b = binary.AppendVarint(append(b, 1), v)
		case string:
			b = append(binary.AppendUvarint(append(b, 2), uint64(len(v))), v...)
		case []byte:
			b = append(binary.AppendUvarint(append(b, 3), uint64(len(v))), v...)
		default:
			panic(fmt.Sprintf("transfer: a row holds a %T", v))
		}
	}
	return b
}

// compare reads both stores.
func (c *copying) compare(ctx context.Context) (Sums, error) {
	c.done, c.total = 0, 0
	for _, t := range Tables {
		n, err := c.from.Count(ctx, t, nil)
		if err != nil {
			return Sums{}, err
		}
		c.total += 2 * n
	}
	var mu sync.Mutex
	step := func(rows int64) {
		mu.Lock()
		defer mu.Unlock()
		c.done += rows
		c.progress("comparing", c.done, c.total)
	}
	var sums [2]Sums
	var errs [2]error
	var readers sync.WaitGroup
	for i, s := range [2]Source{c.from, c.to} {
		readers.Go(func() { sums[i], errs[i] = SumsOf(ctx, s, step) })
	}
	readers.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return Sums{}, err
	}
	if state, err := c.from.State(ctx); err != nil || state != c.place.Source {
		return Sums{}, errors.Join(err, errServed)
	}
	return sums[0], sums[0].Differ(&sums[1])
}

// shownAtMost is how many accounts an error names.
const shownAtMost = 10

// Differ returns an error that names the accounts of which two stores do not hold the
// same; nil: there are none.
func (s *Sums) Differ(other *Sums) error {
	accounts := maps.Clone(s.ByAccount)
	maps.Copy(accounts, other.ByAccount)
	var differ []string
	for account := range accounts {
		if a, b := s.ByAccount[account], other.ByAccount[account]; a != b {
			name := fmt.Sprintf("account %q", account)
			if account == "" {
				name = "what belongs to no account"
			}
			differ = append(differ, fmt.Sprintf("%s (%d rows, in the copy %d)", name, a.Rows, b.Rows))
		}
	}
	if len(differ) == 0 {
		return nil
	}
	slices.Sort(differ)
	more := ""
	if n := len(differ) - shownAtMost; n > 0 {
		differ, more = differ[:shownAtMost], fmt.Sprintf(" and %d others", n)
	}
	return fmt.Errorf("the copy is not what was copied, it differs in %s%s: begin with a new target", strings.Join(differ, ", "), more)
}
