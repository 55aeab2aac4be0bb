package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd prints a script for a shell, or, called by that script, what may
// stand in place of the last word.
type completionCmd struct {
	Shell string   `arg:"" enum:"bash,zsh,fish,words" help:"bash, zsh or fish: add eval \"$(recapito completion bash)\" to ~/.bashrc, the same with zsh to ~/.zshrc, recapito completion fish | source to config.fish."`
	Words []string `arg:"" optional:"" passthrough:"" hidden:""`
}

// scripts give the words of the line up to the cursor to "completion words". What
// begins no word of ours is completed as a file.
var scripts = map[string]string{
	"bash": `_recapito() {
  COMPREPLY=($(recapito completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _recapito recapito
`,
	"zsh": `autoload -Uz compinit && compinit
_recapito() {
  local found=("${(@f)$(recapito completion words -- "${words[@]:1:$((CURRENT-1))}" 2>/dev/null)}")
  if [[ -n "${found[1]}" ]]; then compadd -- "${found[@]}"; else _files; fi
}
compdef _recapito recapito
`,
	"fish": `complete -c recapito -a '(recapito completion words -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
}

// Run prints.
func (c *completionCmd) Run(std Streams, parser *kong.Kong) error {
	text := scripts[c.Shell]
	if c.Shell == "words" {
		words := slices.DeleteFunc(c.Words, func(w string) bool { return w == "--" })
		text = strings.Join(append(candidates(parser.Model.Node, words), ""), "\n")
	}
	_, err := fmt.Fprint(std.Out, text)
	return err
}

// candidates are what may stand in place of the last of the words: commands, or
// flags where it begins with a dash, or the values of a flag that has some.
func candidates(n *kong.Node, words []string) (out []string) {
	if len(words) == 0 {
		return nil
	}
	last, before := words[len(words)-1], words[:len(words)-1]
	for _, w := range before {
		for _, child := range n.Children {
			if child.Name == w {
				n = child
			}
		}
	}
	flags := slices.Concat(n.AllFlags(true)...)
	add := func(word string) {
		if strings.HasPrefix(word, last) {
			out = append(out, word)
		}
	}
	for _, f := range flags {
		if len(before) > 0 && before[len(before)-1] == "--"+f.Name && !f.IsBool() {
			for _, value := range f.EnumSlice() {
				add(value)
			}
			return out
		}
	}
	if strings.HasPrefix(last, "-") {
		for _, f := range flags {
			add("--" + f.Name)
		}
		return out
	}
	for _, child := range n.Children {
		if !child.Hidden {
			add(child.Name)
		}
	}
	return out
}
