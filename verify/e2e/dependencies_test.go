package e2e

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	required = regexp.MustCompile(`(?m)^(?:require )?\t?(\S+\.\S+/\S+) v\S+$`) // but what is indirect
	tooled   = regexp.MustCompile(`(?m)^tool (\S+)$`)
	row      = regexp.MustCompile("(?m)^\\| (`.*?) \\|")
)

// TestDependenciesHaveTheirReason: docs/dependencies.md names each module that a go.mod
// requires directly, or whose tool it has, and no other.
func TestDependenciesHaveTheirReason(t *testing.T) {
	var modules []string
	for _, file := range filesEnding(t, "go.mod") {
		for _, expr := range []*regexp.Regexp{required, tooled} {
			for _, m := range expr.FindAllStringSubmatch(read(t, file), -1) {
				if m[1] != "github.com/recapito/recapito" {
					modules = append(modules, m[1])
				}
			}
		}
	}
	if len(modules) < 40 {
		t.Errorf("modules: found %d, want all of them", len(modules))
	}
	named := namedModules(t)
	for _, module := range modules {
		if !slices.ContainsFunc(named, func(name string) bool { return within(name, module) }) {
			t.Errorf("docs/dependencies.md lacks %s", module)
		}
	}
	for _, name := range named {
		if !slices.ContainsFunc(modules, func(module string) bool { return within(name, module) }) {
			t.Errorf("docs/dependencies.md names %s, which no go.mod requires directly", name)
		}
	}
}

// namedModules are the Go modules of the tables of docs/dependencies.md. There "…/sdk" is
// below the first of its row.
func namedModules(t *testing.T) (names []string) {
	t.Helper()
	for _, m := range row.FindAllStringSubmatch(read(t, "docs/dependencies.md"), -1) {
		first := ""
		for _, quoted := range code.FindAllString(m[1], -1) {
			name := strings.Trim(quoted, "`")
			if rest, short := strings.CutPrefix(name, "…/"); short {
				name = first + "/" + rest
			} else {
				first = name
			}
			if host, _, path := strings.Cut(name, "/"); path && strings.Contains(host, ".") && !strings.Contains(name, ":") {
				names = append(names, name)
			}
		}
	}
	return names
}

// within says whether one of two paths is the other, or below it.
func within(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}
