package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/recapito/recapito/verify/rig"
)

const (
	clusterSize = 4
	// clusterLease is how long a node may be silent before others take it for dead, and
	// attemptsEnd how long after it heard from the database last it begins attempts.
	clusterLease = 5 * time.Second
	attemptsEnd  = clusterLease * 9 / 10
	// servedAgain is how soon after a fault every account must be.
	servedAgain = 7 * time.Second
	// handedOver is how long an account whose endpoint is healthy may have no attempt while
	// nodes end, whatever hangs beside it.
	handedOver = 1500 * time.Millisecond
	// commitsLost are the answers to commits that are lost.
	commitsLost = 18
)

// clusterFault is something that goes wrong with nodes, or with their database. run
// returns between when outcomes may not have been recorded; nothing: all must be.
type clusterFault struct {
	what     string
	evicted  int  // nodes that others take for dead
	graceful bool // nodes end as they are asked to, and nothing else goes wrong
	run      func(*cluster) (span, error)
}

var clusterFaults = []clusterFault{
	{"`kill -9` of one", 1, false, killNode},
	{"SIGSTOP past the lease, SIGCONT", 1, false, stopNode},
	{"the database out of reach of one", 1, false, cutNode},
	{"SIGTERM of one", 0, true, endNode},
	{"rolling restart of all", 0, true, restartNodes},
	{"answers to COMMIT lost", 0, false, loseAnswers},
	{"PostgreSQL stopped (`immediate`), started", 0, false, restartServer},
	{"SIGTERM of all, started again", 0, false, endNodes},
	{"the database out of reach of all", 0, false, cutNodes},
	{"PostgreSQL killed, its synchronous standby promoted", 0, false, failOver},
}

// runCluster: several nodes on one PostgreSQL, and everything that can go wrong with them.
func runCluster(l *lab) (found string, err error) {
	c, err := l.cluster(clusterSize)
	if err != nil {
		return "", err
	}
	defer func() { err = c.end(err) }()
	asking, err := c.startHistories()
	if err != nil {
		return "", err
	}
	load := c.startLoad()
	fmt.Print("\n| fault | events | lost | repeats | PUTs | old URLs | 5xx | served again after | healthy without attempts |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	begun := time.Now()
	var errs []error
	for _, f := range clusterFaults {
		errs = append(errs, c.suffer(&f))
	}
	for time.Since(begun) < l.Mix {
		errs = append(errs, c.suffer(&clusterFaults[rand.IntN(len(clusterFaults))]))
	}
	errs = append(errs, load.end())
	fmt.Println()
	requests, webhooks, unknown, err := asking.end()
	errs = append(errs, err)
	found, err = c.settle()
	return fmt.Sprintf("%s; %d events handed in at %d nodes each; %d requests about %d webhooks in order, %d of them unanswered",
		found, len(load.competed), rivals, requests, webhooks, unknown), errors.Join(append(errs, err)...)
}

// suffering is what is to be known of before a fault.
type suffering struct {
	*clusterFault
	mark
	since   time.Time
	evicted int
}

// suffer brings a fault about, waits until all is well again, and prints the row.
func (c *cluster) suffer(f *clusterFault) error {
	time.Sleep(time.Second + rand.N(500*time.Millisecond)) // the random moment
	s := suffering{clusterFault: f, mark: c.mark(), since: time.Now()}
	var err error
	if s.evicted, err = c.evictions(); err != nil {
		return err
	}
	unrecorded, err := f.run(c)
	if err != nil {
		return fmt.Errorf("%s: %w", f.what, err)
	}
	lost := c.await(c.mark().events, hangs)
	again := c.longest(s.since.Add(-time.Second), hangs)
	idle := c.idlest(s.since.Add(-time.Second), func(account int) bool { return hangs(account) || dawdles(account) })
	repeats, stales, after := c.repeats(s.mark), c.stales(s.mark), c.mark()
	refused := after.refused - s.refused
	fmt.Printf("| %s | %d | %d | %d | %d | %d | %d | %.1f s | %.1f s |\n", f.what, after.events-s.events, len(lost), len(repeats), after.puts-s.puts, len(stales), refused, again.Seconds(), idle.Seconds())
	err = errors.Join(lostError(lost), c.explainRepeats(repeats, unrecorded), staleError(stales), c.lateness(&s, refused, again, idle))
	if err != nil {
		return fmt.Errorf("%s: %w", f.what, err)
	}
	return nil
}

func lostError(lost []int) error {
	if len(lost) == 0 {
		return nil
	}
	return fmt.Errorf("LOST: %d accepted events did not arrive: %v", len(lost), lost[:min(20, len(lost))])
}

// explainRepeats fails if an event was repeated whose outcome must have been recorded, or
// more than once.
func (c *cluster) explainRepeats(repeats []rig.Repeat, unrecorded span) error {
	var spans []span
	if !unrecorded.begin.IsZero() {
		spans = []span{unrecorded}
	}
	for i := range repeats {
		if r := &repeats[i]; dawdles(c.accountOf(r.Number)) && r.Before.Before(unrecorded.begin) { // it may have been answered as late as that
			r.Before = r.Before.Add(min(clusterTimeout/2, unrecorded.begin.Sub(r.Before)))
		}
	}
	var errs []error
	var others []rig.Repeat
	logged := false // once: there may be many
	for _, r := range repeats {
		_, err := c.lab.explain([]rig.Repeat{r}, spans)
		switch {
		case err != nil && c.timedOut(r):
			errs = append(errs, c.lab.late("event %d came again after %v, after an attempt that had no answer in time", r.Number, r.Then.Sub(r.Before)))
			continue
		case err != nil && !logged:
			logged = true
			err = fmt.Errorf("%w: of account %d; nodes logged:\n%s", err, c.accountOf(r.Number), c.logged(r))
		}
		errs, others = append(errs, err), append(others, r)
	}
	return errors.Join(append(errs, oftener(others, len(spans)))...)
}

// timedOut reports whether a node has logged, between an event's arrivals, that its attempt
// had no answer in time.
func (c *cluster) timedOut(r rig.Repeat) bool {
	return slices.ContainsFunc(c.nodes, func(n *clusterNode) bool {
		log, err := os.ReadFile(n.options.LogFile)
		return err == nil && timedOut(string(log), fmt.Sprintf("evt_%d ", r.Number), r)
	})
}

// logged is what nodes logged about an event between its arrivals, and about themselves.
func (c *cluster) logged(r rig.Repeat) string {
	const margin = 5 * time.Second
	event := fmt.Sprintf(" event=evt_%d ", r.Number)
	var lines []string
	for i, n := range c.nodes {
		log, err := os.ReadFile(n.options.LogFile)
		if err != nil {
			return err.Error()
		}
		for stamp, rest := range logLines(string(log), r.Before.Add(-margin), r.Then.Add(margin)) {
			if strings.Contains(rest, event) || !strings.Contains(rest, "msg=attempt") && !strings.Contains(rest, `msg="webhook `) {
				lines = append(lines, fmt.Sprintf("%s node %d: %s", stamp, i, rest))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func staleError(stales []stale) (err error) {
	for _, s := range stales[:min(3, len(stales))] {
		err = errors.Join(err, fmt.Errorf("event %d came to URL %d of account %d, %v after the 200 of a later PUT", s.event, s.version, s.account, s.late))
	}
	return err
}

// lateness fails if an account was not served again in time, if nodes were taken for dead that
// were not, or if one that ends as it should refused a request.
func (c *cluster) lateness(s *suffering, refused int, again, idle time.Duration) error {
	now, err := c.evictions()
	if err != nil {
		return err
	}
	if n := now - s.evicted; n > s.clusterFault.evicted {
		err = c.lab.late("nodes were taken for dead %d times, not %d", n, s.clusterFault.evicted)
	}
	if again > servedAgain {
		err = errors.Join(err, c.lab.late("an event waited %v for its arrival, not %v at most", again, servedAgain))
	}
	if s.graceful && refused > 0 {
		err = errors.Join(err, c.lab.late("%d requests were answered 5xx, not 0", refused))
	}
	if s.graceful && idle > handedOver {
		err = errors.Join(err, c.lab.late("an account whose endpoint is healthy had no attempt for %v, not %v at most", idle, handedOver))
	}
	return err
}

// await returns when all events below have arrived that were accepted, but for those of
// some accounts, or what is missing after a while.
func (c *cluster) await(below int, but func(int) bool) (missing []int) {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if missing = c.missing(below, but); len(missing) == 0 || time.Now().After(deadline) {
			return missing
		}
	}
}

// settle waits until everything has arrived, and checks what is of the whole run.
func (c *cluster) settle() (found string, err error) {
	m := c.mark()
	lost := c.await(m.events, func(int) bool { return false })
	if failed, err := c.nodes[0].service.Load().Metric(`recapito_deliveries{state="FAILED"}`); err != nil || failed > 0 {
		return "", errors.Join(lostError(lost), fmt.Errorf("%v deliveries were given up (%w)", failed, err))
	}
	return fmt.Sprintf("%d nodes, %d events, %d lost, %d PUTs", len(c.nodes), m.events, len(lost), m.puts), errors.Join(lostError(lost), c.disorder())
}

// killNode kills one. It is started again when the others serve its accounts.
func killNode(c *cluster) (unrecorded span, err error) {
	n := c.one()
	unrecorded.begin = time.Now()
	n.service.Load().Kill()
	time.Sleep(100 * time.Millisecond) // what it had sent is read
	unrecorded.end = time.Now()
	c.await(c.mark().events, hangs)
	return unrecorded, n.start()
}

// endNodes ends all at the same time, and starts them again.
func endNodes(c *cluster) (span, error) {
	var all sync.WaitGroup
	errs := make([]error, len(c.nodes))
	for i, n := range c.nodes {
		all.Go(func() { errs[i] = n.terminate() })
	}
	all.Wait()
	for _, n := range c.nodes {
		errs = append(errs, n.start())
	}
	return span{}, errors.Join(errs...)
}

// cutNodes keeps all from the database for longer than their leases last. None is dead: each goes
// on, and records what it could not.
func cutNodes(c *cluster) (span, error) {
	for _, n := range c.nodes {
		n.proxy.freeze()
	}
	time.Sleep(clusterLease + time.Second)
	for _, n := range c.nodes {
		n.proxy.thaw()
	}
	for _, n := range c.nodes {
		if err := n.service.Load().AwaitReady(time.Minute); err != nil {
			return span{}, err
		}
	}
	return span{}, nil
}

// stopNode stops one for longer than its lease lasts. When it goes on, it can record
// nothing of before.
func stopNode(c *cluster) (unrecorded span, err error) {
	n := c.one()
	unrecorded.begin = time.Now()
	if err := n.signal(syscall.SIGSTOP); err != nil {
		return unrecorded, err
	}
	time.Sleep(100 * time.Millisecond)
	unrecorded.end = time.Now()
	time.Sleep(clusterLease + time.Second)
	if err := n.signal(syscall.SIGCONT); err != nil {
		return unrecorded, err
	}
	return unrecorded, n.service.Load().AwaitReady(time.Minute)
}

// cutNode keeps one from its database for longer than its lease lasts. Until that ends,
// it goes on with attempts whose outcomes it cannot record.
func cutNode(c *cluster) (unrecorded span, err error) {
	n := c.one()
	unrecorded.begin = time.Now()
	n.proxy.freeze()
	unrecorded.end = time.Now().Add(attemptsEnd)
	if c.lab.Short { // the machine may be busy: what has begun arrives later
		unrecorded.end = unrecorded.end.Add(clusterTimeout)
	}
	time.Sleep(clusterLease + time.Second)
	n.proxy.thaw()
	return unrecorded, n.service.Load().AwaitReady(time.Minute)
}

func endNode(c *cluster) (span, error) {
	n := c.one()
	return span{}, errors.Join(n.terminate(), n.start())
}

func restartNodes(c *cluster) (span, error) {
	for _, n := range c.nodes {
		if err := errors.Join(n.terminate(), n.start()); err != nil {
			return span{}, err
		}
	}
	return span{}, nil
}

// loseAnswers loses the answers to some commits, at each node in turn. Nobody knows then
// whether they were made.
func loseAnswers(c *cluster) (span, error) {
	for i := range commitsLost {
		p := c.nodes[i%len(c.nodes)].proxy
		want := p.lost.Load() + 1
		p.lose.Store(1)
		for deadline := time.Now().Add(time.Minute); p.lost.Load() < want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return span{}, errors.New("a node committed nothing for a minute")
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return span{}, nil
}

func restartServer(c *cluster) (span, error) { return span{}, c.server.Restart() }

// failOver kills the server and promotes its synchronous standby, to which the proxies
// lead then.
func failOver(c *cluster) (span, error) {
	standby, err := c.server.Standby()
	if err != nil {
		return span{}, err
	}
	c.server.Kill()
	c.server.Stop()
	c.server = standby
	if err := standby.Promote(); err != nil {
		return span{}, err
	}
	for _, n := range c.nodes {
		n.proxy.lead(standby.Port)
	}
	return span{}, nil
}
