package postgres

import "time"

// marks remember how far the listener had been told some time ago. What is still fresh
// after freshFor is entered in the table of what waits: most deliveries have ended by
// then and cost no row there.
type marks struct {
	points    []point
	reached   int64 // the position freshFor ago
	reachedAt time.Duration
	entered   int64         // up to where the table is complete, for the shards of that time
	enteredAt time.Duration // when the listener had been told of that, or the first look; by the boot clock
}

type point struct {
	at  time.Duration // by the boot clock
	pos int64
}

const (
	freshFor = 5 * time.Second
	pointGap = time.Second
	// enterRows is how many deliveries a commit looks at, entersAtOnce how many commits
	// follow each other.
	enterRows    = 2000
	entersAtOnce = 4
)

// next is up to where the table is due to be complete, as the listener has been told up
// to pos.
func (m *marks) next(pos int64, now time.Duration) (to int64, due bool) {
	if n := len(m.points); n == 0 || now-m.points[n-1].at >= pointGap {
		m.points = append(m.points, point{now, pos})
	}
	for len(m.points) > 0 && now-m.points[0].at >= freshFor {
		m.reached, m.reachedAt, m.points = m.points[0].pos, m.points[0].at, m.points[1:]
	}
	switch {
	case m.enteredAt == 0:
		m.enteredAt = now
	case m.reached <= m.entered:
		m.enteredAt = max(m.enteredAt, m.reachedAt)
	}
	return m.reached, m.reached > m.entered
}

// least is up to where the listener has been told of everything.
func (s *Store) least() int64 {
	s.telling.Lock()
	defer s.telling.Unlock()
	return s.streams.least()
}

// enter puts what is still fresh up to a seq, of the node's shards, into the table of
// what waits, a part at a time, and moves their marks. A mark never passes what was not
// looked at, whosever the shard was. A shard of which an account is held is left out.
func (tx *txn) enter(to int64) error {
	var n int
	var last int64
	mine := tx.w.store.whole()
	if err := tx.row(enterFresh, []any{mine, to, enterRows}, &n, &last); err != nil {
		return err
	}
	reached := to
	if n == enterRows {
		reached = last
	}
	tx.then(func() { tx.w.marks.entered = reached })
	_, err := tx.exec(`UPDATE shards SET mark = $3 WHERE shard = ANY($2) AND slot = $1 AND mark < $3`, tx.w.mySlot(), mine, reached)
	return err
}

var enterFresh = `WITH s AS MATERIALIZED (SELECT d.seq, d.account, d.shard, ` + isPending(`d.seq`) + ` AS pending
		FROM deliveries d WHERE d.seq > (SELECT min(mark) FROM shards WHERE shard = ANY($1)) AND d.seq <= $2 AND d.shard = ANY($1) ORDER BY d.seq LIMIT $3),
	i AS (INSERT INTO waiting (seq, account, due_at, shard) SELECT seq, account, 0, shard FROM s WHERE pending ON CONFLICT DO NOTHING)
	SELECT count(*), coalesce(max(seq), 0) FROM s`
