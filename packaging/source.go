package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// source is what is released: files as git archive writes them, so that a clone and a
// source archive are the same.
type source struct {
	dir             string
	version, commit string
	at              time.Time // of the commit; every file of the release has it
	temporary       bool      // dir goes at the end
}

// openSource reads the source at top: its last commit, or all of it where git knows
// nothing, which must be a source archive then.
func openSource(top string) (*source, error) {
	top, err := filepath.Abs(top)
	if err != nil {
		return nil, err
	}
	s := &source{dir: top}
	if _, err := os.Stat(filepath.Join(top, ".git")); err == nil {
		if s.dir, err = os.MkdirTemp("", "recapito-source-"); err != nil {
			return nil, err
		}
		s.temporary = true
		export := exec.Command("sh", "-c", `git archive HEAD | tar -xf - -C "$0"`, s.dir)
		export.Dir, export.Stderr = top, os.Stderr
		if err := export.Run(); err != nil {
			s.close()
			return nil, fmt.Errorf("git archive: %w", err)
		}
	}
	if err := s.readVersion(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *source) versionFile() string { return filepath.Join(s.dir, "command", "VERSION") }

// readVersion reads command/VERSION: version, commit, and the commit's time.
func (s *source) readVersion() error {
	text, err := os.ReadFile(s.versionFile())
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 3 || strings.HasPrefix(lines[1], "$Format") {
		return errors.New("command/VERSION does not tell the commit: build in a clone, or in what git archive wrote")
	}
	seconds, err := strconv.ParseInt(lines[2], 10, 64)
	if err != nil {
		return fmt.Errorf("command/VERSION: %w", err)
	}
	s.version, s.commit, s.at = lines[0], lines[1], time.Unix(seconds, 0).UTC()
	return nil
}

// setVersion gives a copy of the source another version.
func (s *source) setVersion(version string) error {
	if !s.temporary {
		return errors.New("-version: only in a clone")
	}
	s.version = version
	return os.WriteFile(s.versionFile(), fmt.Appendf(nil, "%s\n%s\n%d\n", version, s.commit, s.at.Unix()), 0o644)
}

// path is that of a file of the source.
func (s *source) path(name string) string { return filepath.Join(s.dir, name) }

func (s *source) close() {
	if s.temporary {
		_ = os.RemoveAll(s.dir)
	}
}
