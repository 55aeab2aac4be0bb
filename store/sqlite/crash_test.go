package sqlite

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/recapito/recapito/store/sqlite/crashvfs"
)

var (
	crashRounds = flag.Int("crash.rounds", 20, "power cuts in TestPowerCut")
	crashSeed   = flag.Uint64("crash.seed", 0, "repeats a run, as far as goroutines let it")
)

// machine is a computer with a store on it whose power is cut again and again.
type machine struct {
	dir     string
	rng     *rand.Rand
	boots   int
	vfs     *crashvfs.VFS
	path    string
	store   *Store // nil: not open
	tenants []*tenant
	pragmas []string // beside the store's own
}

// newMachine has a new disk; it is the test's to end.
func newMachine(t *testing.T, seed uint64, pragmas ...string) *machine {
	rng := rand.New(rand.NewPCG(seed, 0))
	m := &machine{dir: t.TempDir(), rng: rng, tenants: newTenants(rng), pragmas: pragmas}
	m.boot(t)
	t.Cleanup(m.shut)
	return m
}

// boot makes a directory for what is left of the disk.
func (m *machine) boot(t *testing.T) (dir string) {
	t.Helper()
	m.boots++
	dir = filepath.Join(m.dir, fmt.Sprint(m.boots))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m.path = filepath.Join(dir, "recapito.db")
	if m.vfs == nil {
		m.vfs = newVFS(t, m.rng.Uint64())
	}
	return dir
}

func newVFS(t *testing.T, seed uint64) *crashvfs.VFS {
	t.Helper()
	v, err := crashvfs.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// start opens the store with a small tail and a small log, so that the one is
// entered and the other emptied all the time.
func (m *machine) start() (err error) {
	m.store, err = Open(context.Background(), Config{Path: m.path, tailSize: 4 << m.rng.IntN(5), logPages: 8 << m.rng.IntN(4), vfs: m.vfs.Name(), rewrite: m.vfs.Rewrite})
	if err != nil {
		m.store = nil
		return err
	}
	for _, pragma := range m.pragmas {
		if _, err := m.store.w.conn.ExecContext(context.Background(), "PRAGMA "+pragma); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) stop() {
	if m.store != nil {
		_ = m.store.Close() // may fail, as the disk may
		m.store = nil
	}
}

func (m *machine) shut() {
	m.stop()
	if m.vfs != nil {
		m.vfs.Close()
	}
}

// cut cuts the power at a random moment under load, and returns what is wrong
// afterwards.
func (m *machine) cut(t *testing.T) error {
	if m.rng.IntN(4) == 0 {
		m.stop() // so that the power goes while it starts
	}
	m.vfs.CutAfter(1 + int(1200*math.Pow(m.rng.Float64(), 3))) // early ones, too
	err := error(nil)
	if m.store == nil {
		if err = m.start(); err == nil {
			err = check(m.tenants, m.store)
		}
	}
	if err == nil {
		err = together(m.tenants, func(t *tenant) error { return t.live(m.store) })
	}
	if errors.As(err, new(wrong)) {
		return err
	}
	select {
	case <-m.vfs.Off():
	default:
		return wrongf("with the power on: %w", err)
	}
	if err := m.restart(t); err != nil {
		return err
	}
	return check(m.tenants, m.store)
}

// restart cuts the power, if it is on, and starts with what is left.
func (m *machine) restart(t *testing.T) error {
	t.Helper()
	m.stop()
	before := m.vfs
	m.vfs = nil
	defer before.Close()
	if err := before.Cut(m.boot(t)); err != nil {
		t.Fatal(err)
	}
	if err := m.start(); err != nil {
		return wrongf("after the cut: %w", err)
	}
	return nil
}

// kill ends the process, not the power, and makes ready for the next one.
func (m *machine) kill(t *testing.T) {
	t.Helper()
	before, dir := m.vfs, m.boot(t)
	after, err := before.Kill(dir)
	if err != nil {
		t.Fatal(err)
	}
	m.stop()
	before.Close()
	m.vfs = after
}

// runSeed is of the run; each part of it has the next.
func runSeed(t *testing.T) uint64 {
	t.Helper()
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Log("seed", seed)
	return seed
}

// Every few cuts there is a new disk, so that the power also goes while the
// file is made.
func TestPowerCut(t *testing.T) {
	const cuts = 5
	seed, begin, events := runSeed(t), time.Now(), 0
	for round := 0; round < *crashRounds && !t.Failed(); round += cuts {
		t.Run(fmt.Sprint("disk", round/cuts+1), func(t *testing.T) {
			m := newMachine(t, seed+uint64(round))
			for i := range min(cuts, *crashRounds-round) {
				if err := m.cut(t); err != nil {
					t.Fatalf("cut %d: %v", i+1, err)
				}
			}
			for _, tenant := range m.tenants {
				events += tenant.made
			}
		})
	}
	t.Logf("%d power cuts, %d events, in %v", *crashRounds, events, time.Since(begin).Round(time.Millisecond))
}

// Wherever the beginning of the first start is cut short, the next one makes
// the file.
func TestPowerCutDuringTheFirstStart(t *testing.T) {
	const operations, each = 12, 2 // what is left of the disk differs
	seed := runSeed(t)
	for i := range operations * each {
		m := newMachine(t, seed+uint64(i))
		m.vfs.CutAfter(1 + i/each)
		if m.start() == nil {
			t.Fatalf("it took only %d operations of the disk", i/each)
		}
		m.stop()
		before := m.vfs
		m.vfs = nil
		if err := before.Cut(m.boot(t)); err != nil {
			t.Fatal(err)
		}
		before.Close()
		if err := m.start(); err != nil {
			t.Errorf("after a cut at operation %d: %v", 1+i/each, err)
		}
		m.shut()
		m.store, m.vfs = nil, nil
	}
}

// If nothing were lost without syncs, TestPowerCut would prove nothing. SQLite
// promises that even then nothing is damaged.
func TestPowerCutLosesWhatWasNotSynced(t *testing.T) {
	m := newMachine(t, runSeed(t), "synchronous = NORMAL")
	for range 100 {
		err := m.cut(t)
		switch {
		case err == nil:
			continue
		case m.store == nil:
			t.Fatal(err)
		}
		if err := checkTables(m.store); err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("100 power cuts with synchronous=NORMAL lost nothing that was acknowledged")
}
