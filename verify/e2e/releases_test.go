package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// previousRelease is the commit of which the old nodes are made: the newest release with
// fewer migrations of store/postgres than this tree, so that one is made while they serve.
// As long as nothing has been released, it is the last commit before the newest migration.
// CONTRIBUTING.md says when it moves.
const previousRelease = "6a4f06eb98be5ce647c5d0ef1d8b138cb1b934a9"

// buildPrevious builds the binary of the previous release from the repository's history.
func buildPrevious(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run := func(hint, name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s%s", name, err, out, hint)
		}
	}
	archive, bin := filepath.Join(dir, "tree.tar"), filepath.Join(dir, "recapito-previous")
	run("The test needs the previous release in the history of this repository. In a shallow clone: git fetch --unshallow", "git", "archive", "--output", archive, previousRelease)
	run("", "tar", "-x", "-f", archive, "-C", dir)
	run("", "env", "CGO_ENABLED=0", "go", "build", "-C", dir, "-trimpath", "-o", bin, ".")
	return bin
}

// Two nodes of the previous release serve. One of this release starts beside them under
// load, which changes the tables. It ends again, while an endpoint hangs: the old ones go
// on. Then nodes of this release take their places. Nothing is lost or repeated, messages
// keep their order, and a PUT counts at each node once it is answered.
func TestTwoReleasesSideBySide(t *testing.T) {
	const accounts = 20
	to, bin, url, flags := onPostgres(t)
	hangs := &stalling{let: map[string]chan struct{}{}, cut: map[string]int{}}
	to.answer = hangs.answer
	old := buildPrevious(t)
	// However slow the machine is, no attempt fails for it, and no node is taken for dead.
	m := newMixed(t, url, append(flags, "--attempt-timeout", "1h", "--order-wait", "24h")...)
	serve(t, old, url).terminate() // it makes the tables
	if _, err := m.conn.Exec(t.Context(), `UPDATE cluster SET ttl_ms = 600000`); err != nil {
		t.Fatal(err)
	}
	had := m.schema()
	a, b := m.serve(old), m.serve(old)
	provision(t, a.service, to, accounts)
	load := &nodesLoad{t: t, accepted: map[string]bool{}}
	load.to(a.service, b.service)
	var c *node
	load.run(4, accounts, func() {
		load.await(300)
		c = m.serve(bin)
		load.to(a.service, c.service)
		m.share(a, b, c)
		load.await(300)
	})
	has := m.schema()
	if has <= had {
		t.Fatalf("the tables are of schema %d, as before: previousRelease must have fewer migrations", has)
	}

	m.moveWebhooks(to, hangs, a, c)
	m.endWhileOneHangs(to, hangs, c, a, b)
	m.refuse(old, fmt.Sprintf("was written by a newer recapito (schema %d; this one knows %d): use that one", has, had))

	var d, e *node
	load.to(a.service, b.service)
	load.run(4, accounts, func() {
		load.await(300)
		d = m.serve(bin)
		load.to(b.service, d.service)
		a.terminate()
		load.await(300)
		e = m.serve(bin)
		load.to(d.service, e.service)
		b.terminate()
		load.await(300)
	})
	m.share(d, e)
	eventuallyCounts(t, "accepted events", len(load.accepted), func() int { return len(load.accepted) - missing(to, accounts, load.accepted) })
	eventually(t, "the backlog to be empty", func() bool { return metric(t, d.service, "recapito_backlog") == 0 })
	hangs.checkTwice(t, to)
	checkMessages(t, to, accounts)
	t.Logf("%d events accepted, schema %d became %d", len(load.accepted), had, has)
}

// moveWebhooks changes webhooks at a node of either release, of accounts for which either
// attempts. What waits behind an attempt under way goes to the new URL.
func (m *mixed) moveWebhooks(to *sink, hangs *stalling, old, current *node) {
	m.t.Helper()
	for i, at := range []struct{ attempts, changes *node }{{old, old}, {old, current}, {current, old}, {current, current}} {
		name := fmt.Sprint("put-", i)
		id := func(n int) string { return fmt.Sprint(name, "-", n) }
		account := m.accountOf(name, at.attempts)
		key := at.changes.account(account)
		at.changes.register(to, account, key)
		let := hangs.hold(id(1))
		old.accept(account, id(1), name)
		current.accept(account, id(2), name)
		wantIDs(m.t, to, account, id(1))
		if code, answer := at.changes.api("PUT", hook, key, callback(to.url(account+"/moved"))); code != http.StatusOK {
			m.t.Fatalf("PUT: %d %s, want 200", code, answer)
		}
		for _, n := range []*node{old, current} {
			if _, answer := n.api("GET", hook, key, ""); field(m.t, answer, "callbackUrl") != to.url(account+"/moved") {
				m.t.Errorf("%s: GET after the PUT: %s, want the new URL", account, answer)
			}
		}
		let()
		current.accept(account, id(3), name)
		old.accept(account, id(4), name)
		wantIDs(m.t, to, account+"/moved", id(2), id(3), id(4))
		wantIDs(m.t, to, account, id(1)) // and nothing after the PUT
	}
}

// endWhileOneHangs ends a node of this release while an attempt of it is under way. The
// others, of the previous one, do not make it again: they have all shards but that one.
func (m *mixed) endWhileOneHangs(to *sink, hangs *stalling, ends, one, two *node) {
	m.t.Helper()
	slow := m.accountOf("slow", ends)
	beside, other := sameShard(slow), slow
	for i := 0; shardOf(other) == shardOf(slow); i++ {
		other = m.accountOf(fmt.Sprint("other-", i), ends)
	}
	for _, account := range []string{slow, beside, other} {
		one.register(to, account, one.account(account))
	}
	let := hangs.hold("slow-1")
	one.accept(slow, "slow-1", "slow")
	wantIDs(m.t, to, slow, "slow-1")
	ends.accept(slow, "slow-2", "slow")
	ended := make(chan struct{})
	go func() { defer close(ended); ends.terminate() }()
	eventually(m.t, "the others to have all shards but one", func() bool {
		return ask[int](m, `SELECT count(*) FROM shards WHERE slot = ANY($1)`, []int16{one.slot, two.slot}) >= 255
	})
	two.accept(other, "other-1", "other")
	wantIDs(m.t, to, other, "other-1")
	two.accept(beside, "beside-1", "beside")
	wantIDs(m.t, to, slow, "slow-1")
	let()
	<-ended
	wantIDs(m.t, to, slow, "slow-1", "slow-2")
	wantIDs(m.t, to, beside, "beside-1")
	hangs.checkTwice(m.t, to)
	m.share(one, two)
}

// refuse starts a node of the previous release, which says why it does not serve.
func (m *mixed) refuse(old, want string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, old, "serve", "--store", m.url, "--platform-key", platformKey, "--listen", freeAddr(m.t), "--ops-listen", freeAddr(m.t)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) {
		m.t.Errorf("a node of the previous release at its start: %v, %s; want that it ends and says %q", err, out, want)
	}
}
