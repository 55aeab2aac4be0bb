package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const (
	feedReaders = 20
	feedEvents  = 100_000
	feedKills   = 1
)

// feed: many read an account's feed while it is fed, and the service is killed on
// the way. What fails it is an event that a reader has not, has twice, or has in
// another order than the others.
func feed(l *lab) error {
	var fed, read, p50, p99 figures
	for round := range l.Rounds {
		dir := filepath.Join(l.dir, fmt.Sprint("feed-", round))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		got, err := rig.FollowThroughKills(rig.Options{Bin: l.bin, Dir: dir, Flags: l.Flag}, feedReaders, feedEvents, feedKills)
		if err != nil {
			return err
		}
		seconds := got.Took.Seconds()
		fed, read = append(fed, feedEvents/seconds), append(read, feedReaders*feedEvents/seconds)
		median, late, _ := rig.Quantiles(got.Delays)
		p50, p99 = append(p50, millis(median)), append(p99, millis(late))
		l.detail("%d requests in %v", got.Requests, got.Took.Round(time.Millisecond))
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	l.table(fmt.Sprintf("The feed: %d readers of one account beside %d events, one kill -9 on the way; each has each event once, in order", feedReaders, feedEvents),
		"fed/s", "read/s by all", "from the sending to the first reader p50, ms", "p99, ms")
	l.row(fed.show("%.0f"), read.show("%.0f"), p50.show("%.1f"), p99.show("%.1f"))
	return nil
}
