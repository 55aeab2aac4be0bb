package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const (
	crowdFiles    = 1024 // file descriptors, of the service
	crowdSize     = 2000 // connections without a key
	crowdAccounts = 100
	crowdRate     = 500 // events/s
	// crowdDelay is the most by which a callback may come later for the crowd.
	crowdDelay = time.Second
)

// crowd: more clients without a key than the service may have files come beside
// a steady feed, from the same address as the feed.
func crowd(l *lab) (found string, err error) {
	if err := needs("prlimit"); err != nil {
		return "", err
	}
	s, err := l.site(rig.Options{WrapWith: []string{"prlimit", fmt.Sprintf("--nofile=%d:%[1]d", crowdFiles)}})
	if err != nil {
		return "", err
	}
	defer func() { err = s.end(err) }()
	if err := s.serve(); err != nil {
		return "", err
	}
	if err := s.register(crowdAccounts, func(i int) string { return s.sink.Endpoint(rig.OK, i) }); err != nil {
		return "", err
	}
	load := s.load(rig.Feed{Batch: 10, Clients: 8, Accounts: crowdAccounts, PerSecond: crowdRate})
	while := 20 * time.Second
	if l.Short {
		while = 3 * time.Second
	}
	time.Sleep(2 * time.Second) // connections, caches
	before, err := s.service.Vitals()
	if err != nil {
		return "", err
	}
	without, err := s.phase(while)
	if err != nil {
		return "", err
	}
	strangers := rig.Invite(strings.TrimPrefix(s.service.URL, "http://"), crowdSize)
	with, err := s.phase(while)
	strangers.Leave()
	if err != nil {
		return "", err
	}
	n, err := s.finish(load)
	if err != nil {
		return "", err
	}
	if err := s.unharmed(load); err != nil {
		return "", err
	}
	after, err := s.closed(before)
	if err != nil {
		return "", err
	}
	if err := s.once(); err != nil {
		return "", err
	}
	found = fmt.Sprintf("%d connections at a time beside %d files for %v (%d in all), %d events, 0 lost, 0 repeats; from handing in to arrival p99 %v and max %v without, %v and %v with them; then %d files and %d goroutines (%d and %d before)",
		crowdSize, crowdFiles, while, strangers.Came(), n, without.P99, without.Max, with.P99, with.Max, after.OpenFiles, after.Goroutines, before.OpenFiles, before.Goroutines)
	if with.Max > without.Max+crowdDelay {
		err = l.late("a callback came %v after its event was handed in, at most %v without the crowd", with.Max, without.Max)
	}
	return found, err
}
