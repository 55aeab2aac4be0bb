package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

// power: the power goes at random moments under load. The file system forgets
// what was not synced, as XFS does when it is shut down.
func power(l *lab) (found string, err error) {
	if err := needs("mkfs.xfs", "xfs_io", "mount", "umount"); err != nil {
		return "", err
	}
	disk, err := l.image("xfs", 2048)
	if err != nil {
		return "", err
	}
	s, err := l.site(rig.Options{Dir: disk.dir, Flags: retrySoon})
	if err != nil {
		return "", err
	}
	s.ended = append(s.ended, disk.remove)
	defer func() { err = s.end(err) }()
	if err := s.serve(); err != nil {
		return "", err
	}
	if err := s.register(killAccounts, func(i int) string { return s.sink.Endpoint(rig.Flaky, i) }); err != nil {
		return "", err
	}
	load := s.load(rig.Feed{Batch: killBatch, Clients: 8, Accounts: killAccounts, PerMessage: 3, PerSecond: killRate})
	rounds := l.rounds(200, 5)
	first := make([]time.Duration, rounds)
	for i := range rounds {
		time.Sleep(20*time.Millisecond + rand.N(400*time.Millisecond)) // the random moment
		if err := s.cut(disk); err != nil {
			return "", fmt.Errorf("cut %d: %w", i+1, err)
		}
		if first[i], err = s.restart(); err != nil {
			return "", fmt.Errorf("after cut %d: %w", i+1, err)
		}
	}
	n, err := s.finish(load)
	if err != nil {
		return "", err
	}
	repeats, err := s.sink.Repeats()
	p50, _, most := rig.Quantiles(first)
	return fmt.Sprintf("%d cuts, %d events, 0 lost, integrity clean; %.1f repeats a cut; first delivery after the start: p50 %v, max %v",
		rounds, n, float64(len(repeats))/float64(rounds), p50.Round(time.Millisecond), most.Round(time.Millisecond)), err
}

// cut cuts the power and returns when the disk is back, with the database as
// it was left.
func (s *site) cut(disk *image) error {
	if err := command("xfs_io", "-x", "-c", "shutdown", disk.dir); err != nil {
		return err
	}
	s.service.Kill()
	if err := disk.unmount(); err != nil {
		return err
	}
	if err := disk.mount(); err != nil {
		return err
	}
	return checkIntegrity(filepath.Join(disk.dir, "recapito.db"))
}
