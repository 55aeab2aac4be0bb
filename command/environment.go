package command

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// BeforeResolve is called by the parser when it has read the command line and the
// environment: the file of variables says what they do not.
func (c *cli) BeforeResolve(ctx *kong.Context) error {
	for _, f := range ctx.Model.Flags {
		if f.Name != "env-file" {
			continue
		}
		file, _ := ctx.FlagValue(f).(string)
		if file == "" {
			return nil
		}
		given, err := readVariables(file)
		if err != nil {
			return fmt.Errorf("--env-file: %w", err)
		}
		if err := checkVariables(ctx.Model, given); err != nil {
			return fmt.Errorf("--env-file %s: %w", file, err)
		}
		ctx.AddResolver(resolver(given))
	}
	return nil
}

// resolver gives a flag the value of its variable, unless the environment has one.
func resolver(given []string) kong.ResolverFunc {
	return func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if os.Getenv(name) != "" {
				return nil, nil
			}
			for _, entry := range given {
				if of, value, _ := strings.Cut(entry, "="); of == name && value != "" {
					return value, nil
				}
			}
		}
		return nil, nil
	}
}

// readVariables reads NAME=value a line. Blank lines, and those that begin with #, say
// nothing. A value may stand in quotes; nothing in it is replaced.
func readVariables(file string) (given []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		switch {
		case !found || !strings.HasPrefix(name, variablePrefix):
			return nil, fmt.Errorf("%s: line %d: must be %sNAME=value", file, n, variablePrefix)
		case len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0]:
			value = value[1 : len(value)-1]
		}
		given = append(given, name+"="+value)
	}
	return given, lines.Err()
}
