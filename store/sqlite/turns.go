package sqlite

import "github.com/recapito/recapito/store"

const (
	// partRows is how many events of one call one transaction stores at most. Whoever
	// comes meanwhile waits for so many: some 3 ms of CPU.
	partRows = 128
	// smallRows is how many may be stored together with those of others.
	smallRows = 100
)

// turns are the operations that wait. Those of one account are done in their order, and
// the accounts take turns.
type turns struct {
	lines map[string]*line
	ring  []*line // the one whose turn it is first; none is empty
}

// line is what waits for one account.
type line struct {
	account string
	ops     []*operation
}

// Beside those of accounts there is a line for events of several, and one for all that
// is not intake. No account has such an id.
const (
	several  = "*"
	noIntake = ""
)

func newTurns() *turns { return &turns{lines: map[string]*line{}} }

func (t *turns) empty() bool { return len(t.ring) == 0 }

// always is ready: the writer goes on with who waits.
var always = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// ready is a channel that can be read while somebody waits.
func (t *turns) ready() <-chan struct{} {
	if t.empty() {
		return nil
	}
	return always
}

func (t *turns) enter(op *operation) {
	l := t.lines[op.account]
	if l == nil {
		l = &line{account: op.account}
		t.lines[op.account] = l
		t.ring = append(t.ring, l)
	}
	l.ops = append(l.ops, op)
}

// take returns the operations of the next transaction, one of each account in turn: a
// great one alone, or small ones up to the first great one.
func (t *turns) take() []*operation {
	ops, rows := make([]*operation, 0, 16), 0
	for !t.empty() && len(ops) < maxOps && rows < maxRows {
		next := t.ring[0].ops[0]
		if next.great() && len(ops) > 0 {
			break
		}
		ops, rows = append(ops, next), rows+next.rows
		t.pass()
		if next.great() {
			break
		}
	}
	return ops
}

// pass ends the turn of the first account.
func (t *turns) pass() {
	l := t.ring[0]
	t.ring = t.ring[1:]
	if l.ops = l.ops[1:]; len(l.ops) > 0 {
		t.ring = append(t.ring, l)
	} else {
		delete(t.lines, l.account)
	}
}

// great: nobody else is to wait for it in the same transaction.
func (o *operation) great() bool { return o.account != noIntake && o.rows > smallRows }

// accountOf is in whose turn the events are stored; there is one at least.
func accountOf(events []store.Event) string {
	for i := range events[1:] {
		if events[i+1].AccountID != events[0].AccountID {
			return several
		}
	}
	return events[0].AccountID
}
