package postgres

import (
	"sync/atomic"
	"time"
)

// lease says until when attempts may begin, and what is cached is true.
type lease struct {
	epoch int64        // of the present row; 0: the process has none
	ttl   atomic.Int64 // how long others wait before they take the node for dead
	until atomic.Int64 // by the boot clock; attempts may begin before
	beat  atomic.Int64 // when the row was updated last, by the boot clock
}

// renew begins the lease anew after a commit that was sent at a time. It ends before
// others take the node for dead, even if their clock is a tenth faster.
func (l *lease) renew(sent time.Duration) {
	l.beat.Store(int64(sent))
	ttl := l.ttl.Load()
	l.until.Store(int64(sent) + ttl - ttl/10)
}

func (l *lease) lose() {
	l.epoch = 0
	l.until.Store(0)
}

func (l *lease) valid() bool { return int64(boot()) < l.until.Load() }

// sinceBeat is how long ago the row was updated.
func (l *lease) sinceBeat() time.Duration { return boot() - time.Duration(l.beat.Load()) }
