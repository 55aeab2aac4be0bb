package postgres

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// node is a row of nodes, as others see it.
type node struct {
	slot         int16
	epoch, beat  int64
	alive        bool
	leaving      bool // it takes no shards
	pos, applied int64
	counts       counts
}

const selectNodes = `SELECT slot, epoch, beat, alive, leaving, pos, applied, pending, delivered, failed, cancelled, (SELECT changes FROM cluster), clock_timestamp() FROM nodes ORDER BY slot`

// silence is since when a row has stayed as it is, by the boot clock.
type silence struct {
	epoch, beat int64
	since       time.Duration
}

// pulse is the goroutine that looks at the other nodes: it tells the listener what they
// have accepted, sees to it that the writer takes in what they have changed, takes
// silent ones for dead, and keeps the node's share of the shards. It has one connection.
type pulse struct {
	store  *Store
	conn   *pgx.Conn
	since  int64 // how many servers had been forsaken when it connected
	plans  plans
	silent map[int16]silence
	last   time.Duration // of the last look, by the boot clock
	// nodes are those of the last look, and incarnation the one that looked.
	nodes       []node
	incarnation int64
	changes     int64
	taking      int32         // nodes that take shards
	balanced    time.Duration // when it last was
	busy        time.Duration // when something last moved
	gaining     bool          // the listener is to be told of what was taken before the last look
	failing     bool
	skewed      bool
	catching    atomic.Bool // the writer is about to catch up
	stopped     chan struct{}
	live        atomic.Int32  // nodes
	skew        atomic.Int64  // by how much the machine's clock is ahead of the database's
	toldAt      atomic.Int64  // when the last look was of which the listener knows all, by the boot clock
	kick        chan struct{} // holds a token while there is something to be told at once
}

// The gaps between two looks: while others accept or change something, while they do
// not, and while there are none.
const (
	busyGap  = 5 * time.Millisecond
	quietGap = 25 * time.Millisecond
	aloneGap = 100 * time.Millisecond
	// busyFor is how long a node looks often after something moved.
	busyFor = 200 * time.Millisecond
)

// run ends when the store is closed.
func (p *pulse) run() {
	defer close(p.stopped)
	defer discard(&p.conn)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.kick:
		case <-p.store.closed:
			return
		}
		again, err := p.step()
		p.report(err)
		switch now := boot(); {
		case err != nil:
			timer.Reset(reopenGap)
		case again:
			timer.Reset(time.Millisecond)
		case p.live.Load() < 2:
			timer.Reset(aloneGap)
		case now-p.busy < busyFor:
			timer.Reset(busyGap)
		default:
			timer.Reset(quietGap)
		}
	}
}

// report logs when looking begins to fail and when it works again.
func (p *pulse) report(err error) {
	if err != nil {
		discard(&p.conn)
	}
	if (err != nil) != p.failing && !p.store.isClosed() {
		p.failing = err != nil
		if p.failing {
			p.store.cfg.Logger.Error("looking at the other nodes fails", "database", p.store.name, "error", plain(err))
		}
	}
}

// step is one look, with what follows from it. again: there is more at once.
func (p *pulse) step() (again bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if forsaken := p.store.forsaken.Load(); forsaken != p.since {
		discard(&p.conn)
		p.since = forsaken
	}
	if p.conn == nil {
		if p.conn, err = p.store.connect(ctx, &unwaited{}); err != nil {
			return false, err
		}
	}
	if err := p.store.replan(ctx, &p.plans, p.conn); err != nil {
		return false, err
	}
	looked := boot()
	if err := p.look(ctx); err != nil {
		return false, err
	}
	if w := p.store.w; w.learn(p.changes) { // first: there may be much to tell
		p.busy = boot()
	}
	told, err := p.tellStreams(ctx)
	if err != nil {
		return false, err
	}
	if told {
		p.toldAt.Store(int64(looked))
	}
	if told && p.gaining {
		p.gain()
	}
	p.catchUp()
	if err := p.evictSilent(ctx); err != nil {
		return false, err
	}
	if now := boot(); told && (now-p.balanced >= balanceGap || p.balanced == 0) {
		p.balanced = now
		p.store.freeAwaited(ctx)
		return true, p.balance(ctx)
	}
	return !told, nil
}

// look reads the rows of all nodes.
func (p *pulse) look(ctx context.Context) error {
	w := p.store.w
	incarnation := w.incarnation.Load()
	began := time.Now()
	rows, err := p.conn.Query(ctx, selectNodes)
	if err != nil {
		return err
	}
	var n node
	var nodes []node
	var live, taking int32
	var sum counts
	var there time.Time
	_, err = pgx.ForEachRow(rows, []any{&n.slot, &n.epoch, &n.beat, &n.alive, &n.leaving, &n.pos, &n.applied, &n.counts[pending], &n.counts[delivered],
		&n.counts[failed], &n.counts[cancelled], &p.changes, &there}, func() error {
		nodes = append(nodes, n)
		if n.alive {
			live++
		}
		if n.alive && !n.leaving {
			taking++
		}
		if n.slot != w.mySlot() {
			for i := range sum {
				sum[i] += n.counts[i]
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !there.IsZero() {
		p.compareClocks(began.Add(time.Since(began) / 2).Sub(there))
	}
	p.nodes, p.incarnation = nodes, incarnation
	p.live.Store(live)
	p.taking = taking
	w.others.Store(&sum)
	return nil
}

// maxSkew is by how much a node's clock may differ from the database's before the log says so.
const maxSkew = time.Second

// compareClocks logs when the machine's clock begins to differ from the database's, and when it
// no longer does.
func (p *pulse) compareClocks(ahead time.Duration) {
	p.skew.Store(int64(ahead))
	log, differs := p.store.cfg.Logger, ahead.Abs() > maxSkew
	switch {
	case differs && !p.skewed:
		log.Warn("this machine's clock differs from the database's: due times are by the clock of the node that attempts", "database", p.store.name, "ahead", ahead.Round(time.Millisecond))
	case p.skewed && ahead.Abs() < maxSkew/2:
		log.Info("this machine's clock is the database's again", "database", p.store.name)
	default:
		return
	}
	p.skewed = differs
}

// lagGap is how long the end of a node's stream may be behind the others': what is beyond it
// is in no feed.
const lagGap = 100 * time.Millisecond

// catchUp has the writer commit, if others have accepted something since it last did.
func (p *pulse) catchUp() {
	w, ahead, own := p.store.w, int64(0), int64(0)
	for i := range p.nodes {
		if n := &p.nodes[i]; n.slot == w.mySlot() {
			own = n.pos
		} else if n.alive {
			ahead = max(ahead, n.pos)
		}
	}
	if ahead > own && w.sinceMoved() > lagGap {
		w.offerOne(&p.catching, &operation{run: func(*txn) error { return nil }})
	}
}

// own is the node's own row.
func (p *pulse) own() (own node) {
	for i := range p.nodes {
		if p.nodes[i].slot == p.store.w.mySlot() {
			own = p.nodes[i]
		}
	}
	return own
}

// gain tells the listener of the shards that were taken before the last look. What
// other nodes had accepted by then it finds; what comes later it is told.
func (p *pulse) gain() {
	s := p.store
	s.telling.Lock()
	defer s.telling.Unlock()
	p.gaining = false
	these := s.shards.in(taken)
	if len(these) == 0 || s.w.incarnation.Load() != p.incarnation {
		return
	}
	s.shards.set(these, owned)
	s.resumeErasing()
	if l := s.w.listener.Load(); l != nil {
		(*l).Gained()
	}
}

// balance takes free shards, or gives some back, if the node has not its share. As long
// as the node takes none from others, it has those that nobody takes.
func (p *pulse) balance(ctx context.Context) error {
	s := p.store
	have, share := len(s.shards.all()), s.cfg.share(int(p.taking))
	p.gaining = p.gaining || len(s.shards.in(taken)) > 0 // the answer to their taking may have been too late
	switch {
	case s.takes() && p.own().leaving:
		return s.takeFromOthers(ctx)
	case !s.takes() && !s.handingOver.Load() && p.taking > 0:
		return nil
	case s.handingOver.Load():
		for these := s.shards.in(owned); len(these) > 0; these = these[min(giveAtOnce, len(these)):] {
			s.give(these[:min(giveAtOnce, len(these))])
		}
		return nil
	case have > share:
		if these := s.shards.in(owned); len(s.shards.in(leaving)) == 0 && len(these) > 0 {
			s.give(these[max(0, len(these)-min(giveAtOnce, have-share)):])
		}
		return nil
	}
	var free, lost []int16
	if err := p.conn.QueryRow(ctx, freeShards, s.w.mySlot()).Scan(&free, &lost); err != nil {
		return err
	}
	lost = slices.DeleteFunc(lost, s.shards.holds) // the answer to their taking was
	free = slices.DeleteFunc(free, s.shards.holds) // the answer to their giving was, or is on its way
	want := append(lost, free[:max(0, min(len(free), share-have-len(lost)))]...)
	if len(want) == 0 {
		return nil
	}
	if err := s.take(ctx, want); err != nil { // the writer has said why; the next look tries again
		if codeOf(err) == lockTimeout {
			p.last = boot() // it was not the database that was silent
		}
		return nil
	}
	p.gaining = true
	return nil
}

const (
	// maxBlind is how long a node may not have looked at the others and still say that
	// one was silent: it may be the database that was.
	maxBlind = time.Second
	evict    = `WITH e AS (UPDATE nodes SET alive = false WHERE slot = $1 AND epoch = $2 AND beat = $3 AND alive RETURNING slot),
		s AS (UPDATE shards SET slot = NULL FROM e WHERE shards.slot = e.slot)
		SELECT count(*) FROM e`
	lockTimeout = "55P03"
)

// evictSilent takes nodes for dead whose rows have stayed as they are for as long as a
// lease lasts, by this node's own clock.
func (p *pulse) evictSilent(ctx context.Context) error {
	now := boot()
	if now-p.last > maxBlind {
		p.silent = map[int16]silence{}
	}
	defer func() { p.last = boot() }()
	for i := range p.nodes {
		n := &p.nodes[i]
		if !n.alive || n.slot == p.store.w.mySlot() {
			delete(p.silent, n.slot)
			continue
		}
		before, known := p.silent[n.slot]
		if !known || before.epoch != n.epoch || before.beat != n.beat {
			p.silent[n.slot] = silence{n.epoch, n.beat, now}
			continue
		}
		if int64(now-before.since) < p.store.w.lease.ttl.Load() {
			continue
		}
		if err := p.evict(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (p *pulse) evict(ctx context.Context, n *node) error {
	var evicted int
	err := pgx.BeginFunc(ctx, p.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '1s'`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, evict, n.slot, n.epoch, n.beat).Scan(&evicted)
	})
	switch {
	case err == nil && evicted == 0, codeOf(err) == deadlock:
		return nil // it writes, or another node was faster
	case err == nil:
		p.store.evictions.Add(1)
		p.balanced = 0
		p.store.cfg.Logger.Warn("a node was silent for as long as a lease lasts: others take its accounts", "database", p.store.name, "slot", n.slot, "by", p.store.w.mySlot())
	case codeOf(err) != lockTimeout:
		return err
	} // in vain: it stopped while it kept its own row locked
	return endSessions(ctx, p.conn, n.slot, n.epoch)
}
