package history

import (
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/recapito/recapito/store"
)

// AccountSource reads accounts.
type AccountSource interface {
	// Waiting are the next n accounts with PENDING deliveries, after an ID and in order.
	Waiting(after string, n int) ([]string, error)
	// Harm adds to the ranking those of these accounts, in order, that have harm by the
	// end of its minute.
	Harm(r *Ranking, ids []string) error
	// InState are those of these accounts whose endpoint was recorded in one of the states.
	InState(ids []string, states []store.HealthState) ([]string, error)
	// After are the next n accounts after an ID, which begin with a prefix and whose
	// endpoint was recorded in one of the states. No state selects all.
	After(id, prefix string, states []store.HealthState, n int) ([]string, error)
	// Health is what is known of an account, or [store.ErrNotFound].
	Health(id string) (store.AccountHealth, error)
}

const (
	// ranked is how many of the accounts that wait a ranking knows, in order of ID.
	ranked = 100_000
	// rankedAtOnce is how many it reads together.
	rankedAtOnce = 1000
	// lookedAt is of how many accounts a page knows the state, at most, and readOf of how
	// many more than it has it reads all.
	lookedAt, readOf = 10_000, 100
)

// Ranking is how accounts compared at the end of a minute.
type Ranking struct {
	Minute int64
	worst  []store.AccountPlace // first
	harm   map[string]int64
}

// Add adds an account.
func (r *Ranking) Add(id string, pending int64, oldest time.Time) {
	if harm := store.HarmAt(r.Minute, pending, oldest); harm > 0 {
		r.worst = append(r.worst, store.AccountPlace{Minute: r.Minute, Harm: harm, ID: id})
		r.harm[id] = harm
	}
}

func rank(minute int64, from AccountSource) (*Ranking, error) {
	r := &Ranking{Minute: minute, harm: map[string]int64{}}
	for after, seen := "", 0; seen < ranked; {
		ids, err := from.Waiting(after, rankedAtOnce)
		if err == nil {
			err = from.Harm(r, ids)
		}
		if err != nil {
			return nil, err
		}
		if len(ids) < rankedAtOnce {
			break
		}
		after, seen = ids[len(ids)-1], seen+len(ids)
	}
	slices.SortFunc(r.worst, store.AccountPlace.Compare)
	return r, nil
}

// Rankings keep the last ones that were asked for: whoever reads the pages of a listing
// sees one order.
type Rankings struct {
	ranking sync.Mutex // one at a time: whoever waits finds what the one before has made
	mu      sync.Mutex // guards what follows
	kept    []*Ranking
}

// rankingsKept is how many are kept.
const rankingsKept = 3

func (k *Rankings) of(minute int64, from AccountSource) (*Ranking, error) {
	if r := k.find(minute); r != nil {
		return r, nil
	}
	k.ranking.Lock()
	defer k.ranking.Unlock()
	if r := k.find(minute); r != nil {
		return r, nil
	}
	r, err := rank(minute, from)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = append(k.kept, r)
	k.kept = slices.Clone(k.kept[max(0, len(k.kept)-rankingsKept):])
	return r, nil
}

// find is the kept one of a minute; nil: there is none.
func (k *Rankings) find(minute int64) *Ranking {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.kept {
		if r.Minute == minute {
			return r
		}
	}
	return nil
}

// Accounts reads a page: of those with harm by their place, and then of the others by
// their ID.
func (k *Rankings) Accounts(q *store.AccountQuery, from AccountSource) (store.AccountPage, error) {
	at := q.After
	if at == (store.AccountPlace{}) {
		at = store.AccountPlace{Minute: store.RankedBy(q.Now), Harm: math.MaxInt64}
	}
	r, err := k.of(at.Minute, from)
	if err != nil {
		return store.AccountPage{}, err
	}
	p := accountPage{source: from, query: q, ranking: r, states: recordedAs(q.States), at: at, looked: lookedAt, read: q.Limit + readOf}
	if at.Harm > 0 {
		err = p.worst()
	}
	if err == nil && !p.full {
		err = p.others()
	}
	if !p.full {
		p.at = store.AccountPlace{}
	}
	return store.AccountPage{Accounts: p.found, Next: p.at}, err
}

// recordedAs are the states in which an endpoint may be recorded that is shown in one of
// these: one that is IDLE is recorded as it was before.
func recordedAs(states []store.HealthState) []store.HealthState {
	if !slices.Contains(states, store.HealthIdle) {
		return states
	}
	all := []store.HealthState{store.HealthHealthy, store.HealthSlowed, store.HealthFailing, store.HealthProbing}
	if slices.Contains(states, store.HealthSuspended) {
		all = append(all, store.HealthSuspended)
	}
	return all
}

// accountPage puts one page together.
type accountPage struct {
	source  AccountSource
	query   *store.AccountQuery
	ranking *Ranking
	states  []store.HealthState // to be looked for
	found   []store.AccountHealth
	at      store.AccountPlace // everything up to it has been looked at
	looked  int                // at so many more
	read    int                // of so many more
	full    bool               // nothing more is looked at
}

// worst goes through the accounts with harm.
func (p *accountPage) worst() error {
	left := p.ranking.worst
	from, found := slices.BinarySearchFunc(left, p.at, store.AccountPlace.Compare)
	if found {
		from++
	}
	for left = left[from:]; len(left) > 0 && !p.full; {
		var some []store.AccountPlace
		some, left = left[:min(len(left), rankedAtOnce)], left[min(len(left), rankedAtOnce):]
		if err := p.take(some); err != nil {
			return err
		}
	}
	return nil
}

// take looks at some accounts, in order.
func (p *accountPage) take(some []store.AccountPlace) error {
	ids := make([]string, len(some))
	for i := range some {
		ids[i] = some[i].ID
	}
	in := ids
	if len(p.states) > 0 {
		var err error
		if in, err = p.source.InState(ids, p.states); err != nil {
			return err
		}
	}
	isIn := make(map[string]bool, len(in))
	for _, id := range in {
		isIn[id] = true
	}
	for _, place := range some {
		wanted := strings.HasPrefix(place.ID, p.query.Prefix) && isIn[place.ID]
		if err := p.look(place, wanted); err != nil || p.full {
			return err
		}
	}
	return nil
}

// look adds an account to the page, if it passes the filters, unless the page is full.
func (p *accountPage) look(place store.AccountPlace, wanted bool) error {
	if p.looked == 0 || p.read == 0 && wanted {
		p.full = true
		return nil
	}
	p.looked--
	if wanted {
		p.read--
		h, err := p.source.Health(place.ID)
		switch {
		case errors.Is(err, store.ErrNotFound): // it was erased
		case err != nil:
			return err
		case len(p.query.States) > 0 && !slices.Contains(p.query.States, h.State):
		case len(p.found) == p.query.Limit:
			p.full = true
			return nil
		default:
			p.found = append(p.found, h)
		}
	}
	p.at = place
	return nil
}

// others goes through those without harm.
func (p *accountPage) others() error {
	if p.at.Harm > 0 {
		p.at = store.AccountPlace{Minute: p.at.Minute}
	}
	for step := p.query.Limit + 1; !p.full; step = min(2*step, rankedAtOnce) {
		ids, err := p.source.After(p.at.ID, p.query.Prefix, p.states, step)
		if err != nil {
			return err
		}
		for _, id := range ids {
			wanted := p.ranking.harm[id] == 0
			if err := p.look(store.AccountPlace{Minute: p.at.Minute, ID: id}, wanted); err != nil || p.full {
				return err
			}
		}
		if len(ids) < step {
			return nil
		}
	}
	return nil
}
