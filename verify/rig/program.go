package rig

import (
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
)

// Vars are what the help of a program says of its scenarios: "enum" are their
// names, "names" also tells what each is.
func Vars[S any](scenarios []S, describe func(S) (name, what string)) kong.Vars {
	names, help := make([]string, len(scenarios)), make([]string, len(scenarios))
	for i, s := range scenarios {
		name, what := describe(s)
		names[i], help[i] = name, name+" ("+what+")"
	}
	return kong.Vars{"enum": strings.Join(names, ","), "names": strings.Join(help, ", ")}
}

// Binary is the path of the given one; if none is given, one is built into dir.
func Binary(given, dir string) (string, error) {
	if given == "" {
		return build(dir)
	}
	return filepath.Abs(given)
}
