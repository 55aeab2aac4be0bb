package sqlite

import (
	"cmp"
	"slices"
	"sort"
	"sync"
)

// tail knows the newest deliveries, which are not yet entered in the two tables
// that begin with the account. An entry there costs a page for each account of
// a commit, unless many are entered together. Most deliveries have ended by
// then and never wait.
//
// The writer changes it after its commits; everyone reads it. A reader first
// copies what it needs and then opens its snapshot: what left the tail in
// between is in the tables.
type tail struct {
	size     int // how many deliveries are entered together
	mu       sync.RWMutex
	first    int64 // seq of the first entry
	entries  []entry
	accounts map[string]*recent
	// full are the accounts of what is being entered, up to the seq fullTo.
	full   []string
	fullTo int64
}

// entry is one delivery, if it is still in the tail.
type entry struct {
	*recent
	accepted int64
	size     int32 // of the payload
	gone     bool  // entered, or erased
	fresh    bool  // PENDING and never put off
}

// recent are the deliveries of one account in the tail.
type recent struct {
	account string
	seqs    []int64 // ascending; with those gone since
}

// tailSize is how many deliveries are entered together: enough for several of
// each account. A start reads up to twice as many.
const tailSize = 16384

func newTail(size int, first int64) *tail {
	return &tail{size: size, first: first, accounts: map[string]*recent{}}
}

func (t *tail) next() int64 { return t.first + int64(len(t.entries)) }

// add appends the delivery next in order.
func (t *tail) add(account string, accepted int64, size int32, fresh bool) {
	r := t.accounts[account]
	if r == nil {
		r = &recent{account: account}
		t.accounts[account] = r
	}
	r.seqs = append(r.seqs, t.next())
	t.entries = append(t.entries, entry{recent: r, accepted: accepted, size: size, fresh: fresh})
}

// at is the entry of a delivery; nil: it is not in the tail.
func (t *tail) at(seq int64) *entry {
	if seq < t.first || seq >= t.next() || t.entries[seq-t.first].gone {
		return nil
	}
	return &t.entries[seq-t.first]
}

func (t *tail) isFresh(seq int64) bool {
	e := t.at(seq)
	return e != nil && e.fresh
}

// fill makes a hole where a delivery was erased or entered before the start.
func (t *tail) fill(next int64) {
	for t.next() < next {
		t.entries = append(t.entries, entry{gone: true})
	}
}

// fresh copies the account's fresh deliveries after a seq.
func (t *tail) fresh(account string, after int64, limit int) []int64 {
	return t.some(account, after, limit, t.isFresh)
}

// after copies the account's deliveries after a seq.
func (t *tail) after(account string, after int64, limit int) []int64 {
	return t.some(account, after, limit, func(seq int64) bool { return t.at(seq) != nil })
}

func (t *tail) some(account string, after int64, limit int, which func(int64) bool) (seqs []int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r := t.accounts[account]
	if r == nil {
		return nil
	}
	from, _ := slices.BinarySearch(r.seqs, after+1)
	for _, seq := range r.seqs[from:] {
		if len(seqs) == limit {
			break
		}
		if which(seq) {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// oldest is when the account's first fresh delivery was accepted; zero: it has none.
func (t *tail) oldest(account string) int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if r := t.accounts[account]; r != nil {
		for _, seq := range r.seqs {
			if t.isFresh(seq) {
				return t.at(seq).accepted
			}
		}
	}
	return 0
}

// waiting copies the accounts that have fresh deliveries, in order.
func (t *tail) waiting(after string, limit int) (accounts []string) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for account, r := range t.accounts {
		if account > after && slices.ContainsFunc(r.seqs, t.isFresh) {
			accounts = append(accounts, account)
		}
	}
	slices.Sort(accounts)
	return accounts[:min(limit, len(accounts))]
}

// place is a delivery in a listing.
type place struct{ accepted, seq int64 }

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.accepted, q.accepted), cmp.Compare(p.seq, q.seq))
}

func newestFirst(a, b place) int { return b.compare(a) }

// places copies the account's deliveries, newest first. The sorting is done
// without the lock, which the writer waits for.
func (t *tail) places(account string) []place {
	all := t.copy(account)
	slices.SortFunc(all, newestFirst)
	return all
}

// copy begins with the last, so that there is little to sort.
func (t *tail) copy(account string) []place {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r := t.accounts[account]
	if r == nil {
		return nil
	}
	all := make([]place, 0, len(r.seqs))
	for _, seq := range slices.Backward(r.seqs) {
		if e := t.at(seq); e != nil {
			all = append(all, place{e.accepted, seq})
		}
	}
	return all
}

// freeze begins the entering if there is enough to enter.
func (t *tail) freeze() {
	if len(t.full) > 0 || len(t.entries) < t.size {
		return
	}
	t.fullTo = t.next() - 1
	for account := range t.accounts {
		t.full = append(t.full, account)
	}
	sort.Strings(t.full)
}

// batch is what the present transaction enters: up to n deliveries, and the
// number of accounts that are then complete.
func (t *tail) batch(n int) (seqs []int64, accounts int) {
	for _, account := range t.full {
		for _, seq := range t.accounts[account].seqs {
			switch {
			case seq > t.fullTo:
			case len(seqs) == n:
				return seqs, accounts
			case t.at(seq) != nil:
				seqs = append(seqs, seq)
			}
		}
		accounts++
	}
	return seqs, accounts
}

// entered forgets a batch. When everything is entered, it forgets the entries
// too.
func (t *tail) entered(seqs []int64, accounts int) {
	for _, seq := range seqs {
		t.entries[seq-t.first].gone = true
	}
	for _, account := range t.full[:accounts] {
		r := t.accounts[account]
		from, _ := slices.BinarySearch(r.seqs, t.fullTo+1)
		r.seqs = slices.Clone(r.seqs[from:])
		if len(r.seqs) == 0 {
			delete(t.accounts, account)
		}
	}
	t.full = t.full[accounts:]
	if len(t.full) == 0 {
		t.entries = slices.Clone(t.entries[t.fullTo+1-t.first:])
		t.first = t.fullTo + 1
	}
}
