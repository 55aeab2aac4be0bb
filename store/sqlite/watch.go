package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// servedFiles identify a database file and its log while they are
// served. SQLite goes on in files without a name, but what it writes there is
// lost when the process ends.
type servedFiles struct {
	path      string
	file, log os.FileInfo
	header    *os.File // another opening, not closed before SQLite's: that would release its locks
}

// watchFiles is called when SQLite has the files open.
func watchFiles(path string) (p *servedFiles, err error) {
	p = &servedFiles{path: path}
	if p.header, err = os.Open(path); err != nil {
		return nil, err
	}
	p.file, err = p.header.Stat()
	if err == nil {
		p.log, err = os.Stat(path + "-wal")
	}
	if err != nil {
		return nil, errors.Join(err, p.header.Close())
	}
	return p, p.check()
}

// What was done to the files, and what is to be done.
var (
	errMoved       = errors.New("the database file was removed or replaced while it is served, and nothing is accepted: put it back where it was; or stop the server and restore a backup")
	errOverwritten = errors.New("the database file was overwritten while it is served, and nothing is accepted: stop the server, remove the file and those with -wal and -shm behind its name, and restore a backup")
	errLogMoved    = errors.New("the log (the file with -wal behind the database's name) was removed or replaced while it is served, and nothing is accepted: stop the server with SIGTERM, which puts what the log holds into the database file; then start it")
)

// check returns an error unless both files are where they were.
func (p *servedFiles) check() error {
	if err := same(p.path, p.file, errMoved); err != nil {
		return err
	}
	header := make([]byte, len(magic)+4)
	if _, err := p.header.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if string(header[:len(magic)]) != magic || header[18] != 2 { // no WAL database any more
		return errOverwritten
	}
	return same(p.path+"-wal", p.log, errLogMoved)
}

func same(path string, want os.FileInfo, moved error) error {
	switch is, err := os.Stat(path); {
	case errors.Is(err, os.ErrNotExist):
		return moved
	case err != nil:
		return fmt.Errorf("looking for the file: %w", err)
	case !os.SameFile(is, want):
		return moved
	}
	return nil
}

func (p *servedFiles) close() {
	if p != nil {
		_ = p.header.Close() // it was only read
	}
}

// lookForFiles reports when the files are missing from their place, and when
// they are back.
func (w *writer) lookForFiles() error {
	if w.files == nil {
		return nil
	}
	err := w.files.check()
	if err != nil || w.away {
		w.report(err)
	}
	w.away = err != nil
	return err
}
