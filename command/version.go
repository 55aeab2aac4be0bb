package command

import (
	_ "embed"
	"fmt"
	"runtime/debug"
	"strings"
)

// versionFile holds the version on its first line, and the commit and its time (Unix)
// on the next ones, where git archive puts them (.gitattributes).
//
//go:embed VERSION
var versionFile string

// commit is set by make build, which asks git.
var commit string

type versionCmd struct{}

func (versionCmd) Run(std Streams) error {
	_, err := fmt.Fprintln(std.Out, "recapito", builtFrom())
	return err
}

// version is what is being released.
func version() string {
	v, _, _ := strings.Cut(versionFile, "\n")
	return v
}

// builtFrom is the version and the commit.
func builtFrom() string { return fmt.Sprintf("%s (commit %s)", version(), builtCommit()) }

// builtCommit is the beginning of the commit, from the first that knows it: make, the
// archive, the Go command.
func builtCommit() string {
	_, archived, _ := strings.Cut(strings.TrimSpace(versionFile), "\n")
	for _, known := range []string{commit, archived, stamped()} {
		if known != "" && !strings.HasPrefix(known, "$Format") {
			return known[:min(12, len(known))]
		}
	}
	return "unknown"
}

// stamped is what go build or go install noted: a commit or a module's version.
func stamped() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	if v := info.Main.Version; v != "(devel)" {
		if i := strings.LastIndexByte(v, '-'); i >= 0 {
			return v[i+1:] // of a pseudo-version
		}
	}
	return ""
}
