package postgres

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// streams says how far the listener has been told of what each node has accepted.
// Store.telling guards it.
type streams struct {
	told map[int16]int64 // by slot
	over map[int16]bool  // nodes that have ended, and of which everything is told
	// own is how far the writer has told of the node's own stream. While behind is set,
	// the pulse tells it too, from told on, together with the others': events of one
	// message come in order.
	own    int64
	behind bool
	low    atomic.Int64 // up to where the listener has been told of all other nodes' streams
	ended  atomic.Int64 // where the own stream ended at the last look
}

// lowest is where what another node has accepted, and the listener does not know, begins
// at the earliest. A node that nobody has looked at yet has drawn its blocks since.
func (s *streams) lowest() int64 { return max(1, min(s.low.Load(), s.ended.Load())) }

// begin forgets everything: the node has no accounts.
func (s *streams) begin(slot int16, pos int64) {
	s.told, s.over, s.own, s.behind = map[int16]int64{}, map[int16]bool{}, pos, false
	s.publish(slot)
}

// publish makes known to the writer how far the listener has been told.
func (s *streams) publish(slot int16) {
	low := int64(math.MaxInt64)
	for other, seq := range s.told {
		if other != slot && !s.over[other] {
			low = min(low, seq)
		}
	}
	s.low.Store(low)
}

// least is up to where the listener has been told of every stream.
func (s *streams) least() int64 {
	least := s.own
	for other, seq := range s.told {
		if !s.over[other] {
			least = min(least, seq)
		}
	}
	return least
}

// fallBehind lets the pulse tell the own stream from where it is told.
func (s *streams) fallBehind(slot int16) {
	if !s.behind {
		s.behind = true
		s.told[slot] = s.own
		s.publish(slot)
	}
}

// caughtUp lets the writer tell again, if the pulse has told all of the own stream: what
// the writer knows of, and what the last look has found.
func (s *streams) caughtUp(slot int16) bool {
	if !s.behind || s.told[slot] < max(s.own, s.ended.Load()) {
		return false
	}
	s.own, s.behind = s.told[slot], false
	delete(s.told, slot)
	return true
}

// lookAtOnce has the pulse look at once.
func (s *Store) lookAtOnce() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// streamRows is how much of one stream is read at a time.
const streamRows = 4000

// streamOf are the deliveries of a part of a stream and of some shards.
var streamOf = `SELECT d.shard, coalesce(a.id, ''), ` + deliveryColumns + whatBehind(`$5`) + ` FROM (SELECT * FROM deliveries WHERE src = $1 AND seq > $2 AND seq <= $3
		AND shard = ANY($4) ORDER BY seq LIMIT $6) d LEFT JOIN accounts a ON a.no = d.account` + withQueue + ` ORDER BY d.seq`

// part is a part of a stream.
type part struct {
	slot     int16
	from, to int64
	rows     []streamed
}

// streamed is a delivery of a node's stream.
type streamed struct {
	slot, shard int16
	read        time.Time
	store.Delivery
}

// tellStreams tells the listener what the nodes had accepted by the last look. all
// reports whether it has told everything.
func (p *pulse) tellStreams(ctx context.Context) (all bool, err error) {
	parts, ready := p.parts()
	if !ready {
		return false, nil
	}
	if len(parts) == 0 {
		return true, nil
	}
	p.busy = boot()
	mine := p.store.shards.in(owned)
	cut := int64(math.MaxInt64)
	if len(mine) > 0 {
		if cut, err = p.readParts(ctx, parts, mine); err != nil {
			return false, err
		}
	}
	return p.tellParts(ctx, parts, cut)
}

// parts are what is to be read: of other nodes, and of this one if it is behind. They
// are not ready while the writer has committed, and not told, something.
func (p *pulse) parts() (parts []part, ready bool) {
	s := p.store
	s.telling.Lock()
	defer s.telling.Unlock()
	if s.w.incarnation.Load() != p.incarnation {
		return nil, false
	}
	moved := false
	for i := range p.nodes {
		n := &p.nodes[i]
		own := n.slot == s.w.mySlot()
		if own {
			s.streams.ended.Store(n.pos)
		}
		if own && !s.streams.behind {
			if s.streams.own < n.pos {
				return nil, false
			}
			continue
		}
		told, known := s.streams.told[n.slot]
		if !known {
			s.streams.told[n.slot], moved = n.pos, true // it has no accounts yet, or the node is new
			if len(s.shards.in(owned)) > 0 {
				s.streams.told[n.slot] = 0
			}
			told = s.streams.told[n.slot]
		}
		to := n.pos
		if own {
			to = min(to, s.streams.own) // the writer has still to pass what it committed since
		}
		over := !n.alive && told >= n.pos
		moved = moved || s.streams.over[n.slot] != over // a slot may be used again
		s.streams.over[n.slot] = over
		if to > told {
			parts = append(parts, part{slot: n.slot, from: told, to: to})
		}
	}
	if s.streams.caughtUp(s.w.mySlot()) || moved {
		s.streams.publish(s.w.mySlot())
	}
	return parts, true
}

// readParts reads them. cut is where the first one ends that it has not read as a whole.
func (p *pulse) readParts(ctx context.Context, parts []part, mine []int16) (cut int64, err error) {
	batch, now := &pgx.Batch{}, time.Now()
	cut = math.MaxInt64
	for i := range parts {
		own := &parts[i]
		batch.Queue(streamOf, own.slot, own.from, own.to, mine, micros(now), streamRows).Query(func(rows pgx.Rows) error {
			own.rows, err = pgx.CollectRows(rows, func(pgx.CollectableRow) (d streamed, err error) {
				var account string
				d.Delivery, err = scanDelivery(rows, "", false, &d.shard, &account)
				d.AccountID, d.slot, d.read = account, own.slot, now
				return d, err
			})
			return err
		})
	}
	if err := p.conn.SendBatch(ctx, batch).Close(); err != nil {
		return 0, err
	}
	for i := range parts {
		if n := len(parts[i].rows); n == streamRows {
			cut = min(cut, parts[i].rows[n-1].Seq)
		}
	}
	return cut, nil
}

// tellParts tells what was read, up to a seq, in order.
func (p *pulse) tellParts(ctx context.Context, parts []part, cut int64) (all bool, err error) {
	s := p.store
	var found []streamed
	for i := range parts {
		for _, d := range parts[i].rows {
			if d.Seq <= cut && d.State == store.Pending && d.AccountID != "" {
				found = append(found, d)
			}
		}
	}
	slices.SortFunc(found, func(a, b streamed) int { return cmp.Compare(a.Seq, b.Seq) })
	for {
		registrations, version, err := p.registrationsOf(ctx, found)
		if err != nil {
			return false, err
		}
		s.telling.Lock()
		if s.cache.version() == version {
			all = p.tell(parts, found, registrations, cut)
			s.telling.Unlock()
			return all, nil
		}
		s.telling.Unlock() // something has changed meanwhile
	}
}

// tell tells the listener; Store.telling is held.
func (p *pulse) tell(parts []part, found []streamed, registrations map[string]*registration, cut int64) (all bool) {
	s := p.store
	if s.w.incarnation.Load() != p.incarnation {
		return false
	}
	var batch []store.Acceptance
	var unsure []string
	for i := range found {
		d := &found[i]
		switch r := registrations[d.AccountID]; {
		case !s.attendsIn(d.shard, d.AccountID) || r == nil:
		case r.webhook == nil:
			unsure = append(unsure, d.AccountID) // it was removed: the listener has it cancelled
		default:
			batch = append(batch, store.Acceptance{Delivery: d.Delivery, Webhook: r.webhook, Foreign: d.slot != s.w.mySlot(), Read: d.read})
		}
	}
	if l := s.w.listener.Load(); l != nil {
		if len(batch) > 0 {
			(*l).Accepted(batch)
		}
		if len(unsure) > 0 {
			slices.Sort(unsure)
			(*l).Uncertain(slices.Compact(unsure))
		}
	}
	all = true
	for i := range parts {
		s.streams.told[parts[i].slot] = min(parts[i].to, cut)
		all = all && parts[i].to <= cut
	}
	s.streams.caughtUp(s.w.mySlot())
	s.streams.publish(s.w.mySlot())
	return all
}

// registrationsOf reads the accounts of deliveries, at a version of the cache.
func (p *pulse) registrationsOf(ctx context.Context, found []streamed) (map[string]*registration, int, error) {
	s := p.store
	registrations := map[string]*registration{}
	version := s.cache.version()
	var missing []string
	for i := range found {
		id := found[i].AccountID
		if _, known := registrations[id]; known {
			continue
		}
		r, _ := s.cached(id)
		if registrations[id] = r; r == nil {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return registrations, version, nil
	}
	read, err := s.readRegistrations(ctx, p.conn, missing)
	for _, r := range read {
		registrations[r.account] = r
		s.cache.keep(r, version)
	}
	return registrations, version, err
}
