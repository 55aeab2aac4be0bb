package command

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/alecthomas/kong"
)

const variablePrefix = "RECAPITO_"

// kubernetes matches the variables, "=" and the value that every container of a
// namespace gets for a Service named recapito or recapito-…
// (kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
var kubernetes = regexp.MustCompile(`^RECAPITO_([A-Z0-9_]+_)?` +
	`(SERVICE_HOST=|SERVICE_PORT(_[A-Z0-9_]+)?=|PORT=(tcp|udp|sctp)://|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)`)

// checkVariables refuses a variable with our prefix that belongs to no flag of
// any command: it is misspelt, and would be ignored. Empty variables are
// allowed.
func checkVariables(model *kong.Application, environ []string) error {
	known := variables(model.Node)
	var misspelt []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if _, ok := known[name]; ok || value == "" || !strings.HasPrefix(name, variablePrefix) || kubernetes.MatchString(entry) {
			continue
		}
		nearest := slices.MinFunc(slices.Sorted(maps.Keys(known)), func(a, b string) int {
			return cmp.Compare(levenshtein.ComputeDistance(name, a), levenshtein.ComputeDistance(name, b))
		})
		misspelt = append(misspelt, fmt.Errorf("the variable %s is that of no flag: did you mean %s?", name, nearest))
	}
	return errors.Join(misspelt...)
}

// dropEmpty takes our variables that are empty out of the environment: they say
// nothing.
func dropEmpty(environ []string) error {
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if value == "" && strings.HasPrefix(name, variablePrefix) {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// variables are those of the flags of all commands, by name.
func variables(n *kong.Node) map[string][]*kong.Flag {
	all := make(map[string][]*kong.Flag)
	for _, f := range n.Flags {
		for _, name := range f.Envs {
			all[name] = append(all[name], f)
		}
	}
	for _, child := range n.Children {
		for name, flags := range variables(child) {
			all[name] = append(all[name], flags...)
		}
	}
	return all
}
