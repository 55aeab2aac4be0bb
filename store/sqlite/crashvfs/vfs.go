// Package crashvfs is a file system beneath SQLite whose power can be cut and
// whose disk can fail: test support for store/sqlite.
//
// It wraps SQLite's own VFS for Unix: files, locks and shared memory are the real
// ones. Beside them it keeps what a disk would have of them (disk.go). It never
// really syncs. It promises that a cut leaves:
//
//   - What was synced, in files whose names were synced with their directory.
//     SQLite syncs the directory with the first sync of a new log or journal, and
//     when it removes a file durably.
//   - Any part of everything else: up to some write, which is torn, or each
//     sector (512 or 4096 bytes) as any write left it. The same holds for the size
//     of each file. Names are there up to some change of the directory.
//   - Nothing of the shared memory, which SQLite makes anew.
//
// It leaves out disks that tear a sector, or lose what they reported as synced.
// SQLite does not support them.
package crashvfs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Op is what a program does to a directory or a file.
type Op string

// The operations that change what is on the disk.
const (
	Create   Op = "create"
	Write    Op = "write"
	Truncate Op = "truncate"
	Sync     Op = "sync"
	Delete   Op = "delete"
)

// Code is the result that SQLite gets of an operation that fails.
type Code int32

// The codes of a fault.
const (
	OK      Code = sqlite3.SQLITE_OK // no fault
	IOError Code = sqlite3.SQLITE_IOERR
	Full    Code = sqlite3.SQLITE_FULL
)

// A Fault decides whether an operation on a file, by its base name, fails. A
// write that fails has written its beginning. A sync that fails has written any
// part; the rest is never written, also not by a later sync that succeeds.
type Fault func(op Op, name string) Code

// VFS is one machine with one directory. All of its methods may be called at
// any time.
type VFS struct {
	name string
	vfs  uintptr // sqlite3_vfs
	base *sqlite3.Tsqlite3_vfs
	tls  *libc.TLS
	off  chan struct{}

	mu    sync.Mutex // before every change of the disk or of a file
	disk  *disk
	isOff bool
	left  int // operations until the power goes; 0: it stays on
	fault Fault
}

// SQLite calls functions, not methods: these tables lead them to their VFS and
// file. SQLite's own list of VFSs also belongs to the whole process.
var (
	count   atomic.Int64
	vfss    sync.Map // *VFS by the address of its sqlite3_vfs
	handles sync.Map // *handle by the address of its sqlite3_file
)

// handle is one open file.
type handle struct {
	*VFS
	name      string
	file      *file
	methods   *sqlite3.Tsqlite3_io_methods // the ones of SQLite
	syncNames bool                         // at the next sync
}

// New starts a machine. The seed decides what its power cuts leave. Files that
// are already in its directory are durable, except empty ones, which have just
// been made.
func New(seed uint64) (*VFS, error) { return boot(newDisk(rand.New(rand.NewPCG(seed, 0)))) }

func boot(d *disk) (_ *VFS, err error) {
	v := &VFS{name: fmt.Sprint("crash", count.Add(1)), disk: d, off: make(chan struct{}), tls: libc.NewTLS()}
	v.base = at[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(v.tls, 0))
	if v.vfs, err = alloc(v.tls, *v.base); err != nil {
		return nil, err
	}
	ours := at[sqlite3.Tsqlite3_vfs](v.vfs)
	if ours.FzName, err = libc.CString(v.name); err != nil {
		return nil, err
	}
	setFunc(&ours.FxOpen, open)
	setFunc(&ours.FxDelete, remove)
	vfss.Store(v.vfs, v)
	if rc := sqlite3.Xsqlite3_vfs_register(v.tls, v.vfs, 0); rc != sqlite3.SQLITE_OK {
		return nil, fmt.Errorf("crashvfs: registering: %d", rc)
	}
	return v, nil
}

// Close forgets the VFS. Every database that was opened with it must have been
// closed.
func (v *VFS) Close() {
	sqlite3.Xsqlite3_vfs_unregister(v.tls, v.vfs)
	vfss.Delete(v.vfs)
	libc.Xfree(v.tls, at[sqlite3.Tsqlite3_vfs](v.vfs).FzName)
	libc.Xfree(v.tls, v.vfs)
	v.tls.Close()
}

// Name is its name in a DSN: vfs=NAME.
func (v *VFS) Name() string { return v.name }

// CutAfter cuts the power at the nth operation from now that changes the disk.
func (v *VFS) CutAfter(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.left = n
}

// Off is closed when the power was cut. From then on every operation that would
// change something fails.
func (v *VFS) Off() <-chan struct{} { return v.off }

// Fail makes operations fail from now on; nil ends it.
func (v *VFS) Fail(f Fault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fault = f
}

// Cut cuts the power, if it is on, and writes into dir what it leaves of the
// files.
func (v *VFS) Cut(dir string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.powerOff()
	return write(dir, v.disk.afterCut())
}

// Kill ends the process without a power cut: the process changes nothing more.
// The next process finds everything in dir as this one saw it. It runs on the
// returned VFS, which has the same disk.
func (v *VFS) Kill(dir string) (*VFS, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.powerOff()
	seen := map[string][]byte{}
	for name, f := range v.disk.names {
		seen[name] = f.cache
	}
	if err := write(dir, seen); err != nil {
		return nil, err
	}
	return boot(v.disk)
}

// Rewrite has the effect of writing a file again as it is, and syncing it.
func (v *VFS) Rewrite(path string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	name := filepath.Base(path)
	f := v.disk.names[name]
	if f == nil {
		return fmt.Errorf("crashvfs: there is no %s", name)
	}
	fate, code := v.step(Write, name)
	if fate == done || fate == cutOff {
		v.disk.write(f, 0, f.cache)
	}
	if fate == done {
		fate, code = v.step(Sync, name)
	}
	if fate != done {
		return fmt.Errorf("crashvfs: rewriting %s: %d", name, code)
	}
	v.disk.sync(f)
	return nil
}

func write(dir string, files map[string][]byte) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (v *VFS) powerOff() {
	if !v.isOff {
		v.isOff = true
		close(v.off)
	}
}

// fate is what happens to an operation.
type fate int

const (
	done   fate = iota // it is done
	cutOff             // the power goes meanwhile: it may be done
	faulty             // it fails
	dead               // the power has gone before: nothing happens
)

// step begins an operation, with the lock held.
func (v *VFS) step(op Op, name string) (fate, int32) {
	if v.isOff {
		return dead, sqlite3.SQLITE_IOERR
	}
	if v.left > 0 {
		if v.left--; v.left == 0 {
			v.powerOff()
			return cutOff, sqlite3.SQLITE_IOERR
		}
	}
	if v.fault != nil {
		if code := v.fault(op, name); code != OK {
			return faulty, int32(code)
		}
	}
	return done, sqlite3.SQLITE_OK
}

// open is xOpen. Temporary files are left to SQLite.
func open(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32 {
	v := lookup[*VFS](&vfss, vfs)
	if name == 0 || flags&sqlite3.SQLITE_OPEN_DELETEONCLOSE != 0 {
		return v.open(tls, name, file, flags, outFlags)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	path := libc.GoString(name)
	h := &handle{VFS: v, name: filepath.Base(path), syncNames: flags&sqlite3.SQLITE_OPEN_CREATE != 0 &&
		flags&(sqlite3.SQLITE_OPEN_WAL|sqlite3.SQLITE_OPEN_MAIN_JOURNAL|sqlite3.SQLITE_OPEN_SUPER_JOURNAL) != 0}
	known := v.disk.names[h.name]
	if known == nil {
		content, err := os.ReadFile(path) // before SQLite has locks on it, which this would release
		if len(content) > 0 {
			known = v.disk.adopt(h.name, content)
		} else if err == nil || flags&sqlite3.SQLITE_OPEN_CREATE != 0 {
			if fate, _ := v.step(Create, h.name); fate == faulty || fate == dead {
				return sqlite3.SQLITE_CANTOPEN
			}
			known = v.disk.create(h.name)
		}
	}
	if rc := v.open(tls, name, file, flags, outFlags); rc != sqlite3.SQLITE_OK {
		return rc
	}
	h.file = known
	f := at[sqlite3.Tsqlite3_file](file)
	h.methods = at[sqlite3.Tsqlite3_io_methods](f.FpMethods)
	methods, err := wrapped(tls, f.FpMethods)
	if err != nil {
		_ = call[func(*libc.TLS, uintptr) int32](h.methods.FxClose)(tls, file)
		return sqlite3.SQLITE_NOMEM
	}
	f.FpMethods = methods
	handles.Store(file, h)
	return sqlite3.SQLITE_OK
}

func (v *VFS) open(tls *libc.TLS, name, file uintptr, flags int32, outFlags uintptr) int32 {
	return call[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](v.base.FxOpen)(tls, sqlite3.Xsqlite3_vfs_find(tls, 0), name, file, flags, outFlags)
}

// remove is xDelete.
func remove(tls *libc.TLS, vfs, name uintptr, syncDirectory int32) int32 {
	v := lookup[*VFS](&vfss, vfs)
	v.mu.Lock()
	defer v.mu.Unlock()
	base := filepath.Base(libc.GoString(name))
	fate, code := v.step(Delete, base)
	if fate == faulty || fate == dead {
		return code
	}
	rc := call[func(*libc.TLS, uintptr, uintptr, int32) int32](v.base.FxDelete)(tls, vfs, name, 0)
	if v.disk.names[base] != nil {
		v.disk.remove(base)
	}
	if rc != sqlite3.SQLITE_OK || fate == cutOff {
		return max(rc, code)
	}
	if syncDirectory != 0 {
		v.disk.syncNames()
	}
	return sqlite3.SQLITE_OK
}

var (
	tables   = map[uintptr]uintptr{} // ours by the address of SQLite's; for good, like those
	tablesMu sync.Mutex
)

// wrapped is a table of SQLite's methods for a kind of file, with ours in place
// of those that change it.
func wrapped(tls *libc.TLS, base uintptr) (uintptr, error) {
	tablesMu.Lock()
	defer tablesMu.Unlock()
	if ours, ok := tables[base]; ok {
		return ours, nil
	}
	ours, err := alloc(tls, *at[sqlite3.Tsqlite3_io_methods](base))
	if err != nil {
		return 0, err
	}
	table := at[sqlite3.Tsqlite3_io_methods](ours)
	setFunc(&table.FxWrite, writeFile)
	setFunc(&table.FxTruncate, truncateFile)
	setFunc(&table.FxSync, syncFile)
	setFunc(&table.FxClose, closeFile)
	tables[base] = ours
	return ours, nil
}

// writeFile is xWrite.
func writeFile(tls *libc.TLS, file, from uintptr, n int32, offset int64) int32 {
	h := lookup[*handle](&handles, file)
	h.mu.Lock()
	defer h.mu.Unlock()
	fate, code := h.step(Write, h.name)
	switch fate {
	case dead:
		return code
	case faulty:
		n = h.disk.rng.Int32N(n)
	}
	rc := call[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](h.methods.FxWrite)(tls, file, from, n, offset)
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	if n > 0 {
		h.disk.write(h.file, int(offset), unsafe.Slice(at[byte](from), n))
	}
	return code
}

// truncateFile is xTruncate.
func truncateFile(tls *libc.TLS, file uintptr, size int64) int32 {
	h := lookup[*handle](&handles, file)
	h.mu.Lock()
	defer h.mu.Unlock()
	fate, code := h.step(Truncate, h.name)
	if fate == faulty || fate == dead {
		return code
	}
	rc := call[func(*libc.TLS, uintptr, int64) int32](h.methods.FxTruncate)(tls, file, size)
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	h.disk.truncate(h.file, int(size))
	return code
}

// syncFile is xSync.
func syncFile(_ *libc.TLS, file uintptr, _ int32) int32 {
	h := lookup[*handle](&handles, file)
	h.mu.Lock()
	defer h.mu.Unlock()
	fate, code := h.step(Sync, h.name)
	switch fate {
	case cutOff, dead:
		return code
	case faulty:
		h.disk.failSync(h.file)
		return code
	}
	h.disk.sync(h.file)
	if h.syncNames {
		h.disk.syncNames()
		h.syncNames = false
	}
	return sqlite3.SQLITE_OK
}

// closeFile is xClose.
func closeFile(tls *libc.TLS, file uintptr) int32 {
	h := lookup[*handle](&handles, file)
	handles.Delete(file) // SQLite may use the address again at once
	return call[func(*libc.TLS, uintptr) int32](h.methods.FxClose)(tls, file)
}

// SQLite in Go keeps pointers as numbers, and a function as the address of the
// function value.

// at is the value at an address.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// call is the function at an address.
func call[F any](address uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{address})) }

// setFunc puts a function there, which must be one declared at the top.
func setFunc[F any](there *uintptr, f F) { *(*F)(unsafe.Pointer(there)) = f }

// alloc copies v to where the garbage collector does not look.
func alloc[T any](tls *libc.TLS, v T) (uintptr, error) {
	p := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(v)))
	if p == 0 {
		return 0, fmt.Errorf("crashvfs: out of memory")
	}
	*at[T](p) = v
	return p, nil
}

func lookup[T any](m *sync.Map, address uintptr) T {
	v, ok := m.Load(address)
	if !ok {
		panic("crashvfs: SQLite names something unknown")
	}
	return v.(T)
}
