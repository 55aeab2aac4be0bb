package crashvfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// disk models the files of one directory: what programs see, what a power cut
// is sure to leave, and everything between that was written and not synced.
type disk struct {
	rng    *rand.Rand
	sector int
	op     int64            // the last operation
	names  map[string]*file // as programs see them
	kept   map[string]*file // durably
	// entries are the changes of names that are not durable, oldest first.
	entries []entry
}

type entry struct {
	op   int64
	name string
	file *file // nil: removed
}

// file keeps every version of its size and of each sector since the last sync.
// A sector reaches the disk as a whole or not at all.
type file struct {
	cache   []byte // as programs see it
	durable []byte // may end before size: then there is nothing for certain
	size    int    // durable
	sectors map[int][]version[[]byte]
	sizes   []version[int]
}

type version[T any] struct {
	op    int64
	value T
}

func newDisk(rng *rand.Rand) *disk {
	return &disk{rng: rng, sector: []int{512, 4096}[rng.IntN(2)], names: map[string]*file{}, kept: map[string]*file{}}
}

// adopt adds a file that was there before, as durable.
func (d *disk) adopt(name string, content []byte) *file {
	f := &file{cache: content, durable: slices.Clone(content), size: len(content), sectors: map[int][]version[[]byte]{}}
	d.names[name], d.kept[name] = f, f
	return f
}

func (d *disk) create(name string) *file {
	f := &file{sectors: map[int][]version[[]byte]{}}
	d.set(name, f)
	return f
}

func (d *disk) remove(name string) { d.set(name, nil) }

// set gives a name to a file, or to none.
func (d *disk) set(name string, f *file) {
	d.op++
	if f == nil {
		delete(d.names, name)
	} else {
		d.names[name] = f
	}
	d.entries = append(d.entries, entry{d.op, name, f})
}

// syncNames makes the directory durable, but not what is in its files.
func (d *disk) syncNames() {
	d.kept, d.entries = maps.Clone(d.names), nil
}

func (d *disk) write(f *file, at int, p []byte) {
	d.op++
	end := at + len(p)
	if end > len(f.cache) {
		f.cache = append(f.cache, make([]byte, end-len(f.cache))...)
		f.sizes = append(f.sizes, version[int]{d.op, end})
	}
	copy(f.cache[at:], p)
	for s := at / d.sector; s*d.sector < end; s++ {
		content := slices.Clone(f.cache[s*d.sector : min((s+1)*d.sector, len(f.cache))])
		f.sectors[s] = append(f.sectors[s], version[[]byte]{d.op, content})
	}
}

func (d *disk) truncate(f *file, size int) {
	d.op++
	old := len(f.cache)
	f.cache = append(f.cache[:min(size, old)], make([]byte, max(0, size-old))...)
	f.sizes = append(f.sizes, version[int]{d.op, size})
	for s := size / d.sector; s*d.sector < old; s++ { // may be grown again
		content := make([]byte, d.sector)
		copy(content, f.cache[min(s*d.sector, size):])
		f.sectors[s] = append(f.sectors[s], version[[]byte]{d.op, content})
	}
}

func (d *disk) sync(f *file) {
	for s, versions := range f.sectors {
		f.put(s*d.sector, versions[len(versions)-1].value)
	}
	clear(f.sectors)
	f.size, f.sizes = len(f.cache), nil
	f.durable = f.durable[:min(f.size, len(f.durable))] // what was cut off does not come back
	f.put(f.size, nil)
	f.durable = f.durable[:f.size]
}

// failSync is a sync that fails. Any part of what was written has reached the
// disk. The rest never will, as the kernel marks those pages clean. Programs
// see the pages as they were written.
func (d *disk) failSync(f *file) {
	for s, versions := range f.sectors {
		if n := d.rng.IntN(len(versions) + 1); n > 0 {
			f.put(s*d.sector, versions[n-1].value)
		}
	}
	clear(f.sectors)
}

// put makes content durable, and the size up to its end.
func (f *file) put(at int, content []byte) {
	if end := at + len(content); end > len(f.durable) {
		f.durable = append(f.durable, make([]byte, end-len(f.durable))...)
	}
	copy(f.durable[at:], content)
}

// cut says how many of the versions that these operations made, oldest first,
// have reached the disk when the power goes.
type cut func(ops []int64) int

// inOrder lets everything up to some operation reach the disk. The next
// operation is torn: each of its sectors reaches the disk or not.
func (d *disk) inOrder() cut {
	oldest := d.op + 1
	for _, e := range d.entries {
		oldest = min(oldest, e.op)
	}
	for _, names := range []map[string]*file{d.names, d.kept} { // a file may be removed, or new
		for _, f := range names {
			for _, versions := range f.sectors {
				oldest = min(oldest, versions[0].op)
			}
			if len(f.sizes) > 0 {
				oldest = min(oldest, f.sizes[0].op)
			}
		}
	}
	last := oldest - 1 + d.rng.Int64N(d.op-oldest+2)
	return func(ops []int64) int {
		n, torn := slices.BinarySearch(ops, last+1)
		if torn && d.rng.IntN(2) == 0 {
			n++
		}
		return n
	}
}

// anyOrder lets each sector, each size and the directory reach the disk as it
// was after any of the operations.
func (d *disk) anyOrder() cut {
	return func(ops []int64) int { return d.rng.IntN(len(ops) + 1) }
}

// afterCut is the directory as a power cut leaves it.
func (d *disk) afterCut() map[string][]byte {
	reached := d.inOrder()
	if d.rng.IntN(2) == 0 {
		reached = d.anyOrder()
	}
	names := maps.Clone(d.kept)
	ops := make([]int64, len(d.entries))
	for i, e := range d.entries {
		ops[i] = e.op
	}
	for _, e := range d.entries[:reached(ops)] {
		if names[e.name] = e.file; e.file == nil {
			delete(names, e.name)
		}
	}
	image := map[string][]byte{}
	for name, f := range names {
		image[name] = d.content(f, reached)
	}
	return image
}

// content is what is left of a file. As in file systems, sectors within its
// size that were never written are zero or hold anything.
func (d *disk) content(f *file, reached cut) []byte {
	content := make([]byte, pick(f.sizes, reached, f.size))
	n := copy(content, f.durable)
	if d.rng.IntN(2) == 0 {
		for i := n; i < len(content); i++ {
			content[i] = byte(d.rng.Uint32())
		}
	}
	for s, versions := range f.sectors {
		if at := s * d.sector; at < len(content) {
			copy(content[at:], pick(versions, reached, nil))
		}
	}
	return content
}

func pick[T any](versions []version[T], reached cut, none T) T {
	ops := make([]int64, len(versions))
	for i, v := range versions {
		ops[i] = v.op
	}
	if n := reached(ops); n > 0 {
		return versions[n-1].value
	}
	return none
}
