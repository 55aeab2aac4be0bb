package rig

import (
	"os"
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

// Prepare makes a folder for a run, beneath parent or the system's temporary
// directory, and returns it with the path of the given binary; if none is given, one
// is built into the folder. remove takes the folder away.
func Prepare(parent, given string) (dir, bin string, remove func(), err error) {
	if dir, err = os.MkdirTemp(parent, "recapito-"); err != nil {
		return "", "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	if given != "" {
		bin, err = filepath.Abs(given)
	} else {
		bin, err = Build(dir)
	}
	if err != nil {
		remove()
		return "", "", nil, err
	}
	return dir, bin, remove, nil
}
