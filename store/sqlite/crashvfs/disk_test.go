package crashvfs

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func testDisk() *disk {
	d := newDisk(rand.New(rand.NewPCG(1, 2)))
	d.sector = 512
	return d
}

// kinds cuts the power many times and returns what was left, in words.
func kinds(d *disk, word func(files map[string][]byte) string) string {
	seen := map[string]bool{}
	for range 500 {
		seen[word(d.afterCut())] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), " ")
}

func TestSyncedIsKept(t *testing.T) {
	d := testDisk()
	f := d.create("a")
	d.syncNames()
	for i := range 300 {
		for range d.rng.IntN(4) {
			if d.rng.IntN(3) == 0 {
				d.truncate(f, d.rng.IntN(5000))
				continue
			}
			d.write(f, d.rng.IntN(5000), bytes.Repeat([]byte{byte(i)}, 1+d.rng.IntN(2000)))
		}
		if i%5 == 0 {
			d.failSync(f)
			d.write(f, 0, slices.Clone(f.cache)) // all of it anew
		}
		d.sync(f)
		if got := d.afterCut()["a"]; !bytes.Equal(got, f.cache) {
			t.Fatalf("after sync %d: %d bytes are left that differ from the %d that were synced", i+1, len(got), len(f.cache))
		}
	}
}

func TestUnsyncedIsLostOrTorn(t *testing.T) {
	d := testDisk()
	f := d.adopt("a", bytes.Repeat([]byte("1"), 1024))
	d.write(f, 0, bytes.Repeat([]byte("2"), 1024))
	d.write(f, 0, bytes.Repeat([]byte("3"), 1024))
	sectors := func(files map[string][]byte) string { return string([]byte{files["a"][0], files["a"][1023]}) }
	if got, want := kinds(d, sectors), "11 12 13 21 22 23 31 32 33"; got != want {
		t.Errorf("two sectors, written twice, are left as %s; want %s", got, want)
	}
	d.write(f, 1024, []byte("4"))
	d.truncate(f, 100)
	sizes := func(files map[string][]byte) string {
		return map[int]string{100: "100", 1024: "1024", 1025: "1025"}[len(files["a"])]
	}
	if got, want := kinds(d, sizes), "100 1024 1025"; got != want {
		t.Errorf("sizes %s are left, want %s", got, want)
	}
}

func TestNamesAreKeptByTheDirectory(t *testing.T) {
	names := func(files map[string][]byte) string {
		return "[" + strings.Join(slices.Sorted(maps.Keys(files)), ",") + "]"
	}
	d := testDisk()
	f := d.create("a")
	d.create("b")
	d.write(f, 0, []byte("x"))
	d.sync(f)
	if got, want := kinds(d, names), "[] [a,b] [a]"; got != want {
		t.Errorf("before the directory is synced there are %s, want %s", got, want)
	}
	d.syncNames()
	if got, want := kinds(d, names), "[a,b]"; got != want {
		t.Errorf("after the directory is synced there are %s, want %s", got, want)
	}
	d.remove("a")
	if got, want := kinds(d, names), "[a,b] [b]"; got != want {
		t.Errorf("after one was removed there are %s, want %s", got, want)
	}
}

func TestFailedSyncLosesForGood(t *testing.T) {
	left := map[string]bool{}
	for range 100 {
		d := testDisk()
		d.rng = rand.New(rand.NewPCG(uint64(len(left)), rand.Uint64()))
		f := d.adopt("a", []byte("1"))
		d.write(f, 0, []byte("2"))
		d.failSync(f)
		d.sync(f)
		left[string(d.afterCut()["a"])] = true
		if string(f.cache) != "2" {
			t.Fatalf("programs see %s, want what was written", f.cache)
		}
	}
	if !left["1"] || !left["2"] {
		t.Errorf("after a failed sync and one that succeeds there are %v, want both versions", left)
	}
}
