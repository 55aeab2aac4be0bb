package e2e

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/recapito/recapito/dispatcher/lane"
)

// TestLinksOfTheDocumentsWork holds every relative link of a Markdown file against
// the files and their headings.
func TestLinksOfTheDocumentsWork(t *testing.T) {
	links := 0
	for _, file := range filesEnding(t, ".md") {
		for _, link := range linksIn(t, file) {
			links++
			if fault := broken(t, file, link); fault != "" {
				t.Errorf("%s links to %s: %s", file, link, fault)
			}
		}
	}
	if links < 20 {
		t.Errorf("links: found %d, want all of the documents'", links)
	}
}

// TestDocumentsNameWhatThereIs: the tests, Go files and make targets that a document
// names exist.
func TestDocumentsNameWhatThereIs(t *testing.T) {
	tests, files, makefile := map[string]bool{}, map[string]bool{}, read(t, "Makefile")
	for _, file := range filesEnding(t, ".go") {
		files[file] = true
		for _, m := range testFunc.FindAllStringSubmatch(read(t, file), -1) {
			tests[m[1]] = true
		}
	}
	for _, file := range filesEnding(t, ".md") {
		for _, m := range code.FindAllString(prose(t, file), -1) {
			name := strings.Trim(m, "`")
			if strings.HasPrefix(name, "Test") && !tests[name] || goFile.MatchString(name) && !files[name] {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
			if words := strings.Fields(name); len(words) > 1 && words[0] == "make" && !strings.Contains(makefile, "\n"+words[1]+":") {
				t.Errorf("%s names make %s, which does not exist", file, words[1])
			}
		}
	}
}

// TestCommandsOfTheDocumentsFindATest: each `go test -run` of a document finds one in
// the package that it names.
func TestCommandsOfTheDocumentsFindATest(t *testing.T) {
	commands := 0
	for _, file := range filesEnding(t, ".md") {
		for _, command := range goTest.FindAllString(read(t, file), -1) {
			words := strings.Fields(command)
			at := slices.Index(words, "-run") + 1
			if at == 0 || strings.Contains(words[at], "$") {
				continue
			}
			commands++
			run, err := regexp.Compile(words[at])
			if err != nil {
				t.Fatalf("%s: %s: %v", file, command, err)
			}
			last := slices.DeleteFunc(words, func(word string) bool { return word == "-update" }) // a flag of the test's, behind the package
			sources, err := filepath.Glob(filepath.Join(last[len(last)-1], "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(sources, func(source string) bool {
				return slices.ContainsFunc(testFunc.FindAllStringSubmatch(read(t, source), -1), func(m []string) bool { return run.MatchString(m[1]) })
			}) {
				t.Errorf("%s: %s finds no test", file, command)
			}
		}
	}
	if commands < 5 {
		t.Errorf("commands: found %d, want all of the documents'", commands)
	}
}

// TestDocumentsAreComplete: the documents name every metric, and every value of the
// enumerations that they explain.
func TestDocumentsAreComplete(t *testing.T) {
	wanted := map[string][]string{"docs/metrics.md": nil, "docs/platform.md": nil, "docs/receiving.md": nil, "docs/brokers.md": nil}
	for _, file := range filesEnding(t, ".go") {
		if strings.HasPrefix(file, "command/") && !strings.HasSuffix(file, "_test.go") {
			page := "docs/metrics.md"
			if strings.HasPrefix(file, "command/broker/") {
				page = "docs/brokers.md"
			}
			for _, m := range metricName.FindAllStringSubmatch(read(t, file), -1) {
				wanted[page] = append(wanted[page], m[1])
			}
		}
	}
	schemas := loadSpec(t, "openapi.yaml").Components.Schemas
	for schema, file := range map[string]string{"SkipReason": "docs/platform.md", "AttemptError": "docs/receiving.md", "AttemptDetail": "docs/receiving.md"} {
		for _, value := range schemas[schema].Value.Enum {
			wanted[file] = append(wanted[file], value.(string))
		}
	}
	for file, names := range wanted {
		if len(names) < 5 {
			t.Errorf("names for %s: got %q, want all of them", file, names)
		}
		text := read(t, file)
		for _, name := range names {
			if !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, "`"+name+"{") {
				t.Errorf("%s does not say what %s means", file, name)
			}
		}
	}
}

// TestManualNamesEveryFlag of serve.
func TestManualNamesEveryFlag(t *testing.T) {
	help, err := exec.Command(build(t, false), "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	flags := slices.DeleteFunc(flagName.FindAllStringSubmatch(string(help), -1), func(m []string) bool { return m[1] == "help" || m[1] == "version" })
	if len(flags) < 20 {
		t.Errorf("flags: got %q, want all of them", flags)
	}
	manual := read(t, "docs/configuration.md")
	for _, m := range flags {
		if !regexp.MustCompile("`--" + m[1] + "[` ]").MatchString(manual) {
			t.Errorf("docs/configuration.md does not say what --%s is", m[1])
		}
	}
}

// TestDocumentsHaveTheSchedule: every text for people has the gaps between attempts
// of the code.
func TestDocumentsHaveTheSchedule(t *testing.T) {
	english, italian := gaps("m", "and"), gaps("min", "e")
	for file, want := range map[string]string{
		"openapi.yaml": english, "docs/receiving.md": english, "gen/openapi.it.overlay.yaml": italian,
		"command/serve.go": strings.NewReplacer(" and ", ",", ", ", ",", " ", "").Replace(english),
	} {
		if text := strings.Join(strings.Fields(read(t, file)), " "); !strings.Contains(text, want) {
			t.Errorf("%s does not have the gaps %q", file, want)
		}
	}
}

// gaps writes the default schedule in words.
func gaps(minutes, and string) string {
	var all []string
	for _, gap := range lane.DefaultSchedule {
		switch {
		case gap < time.Minute:
			all = append(all, fmt.Sprintf("%d s", gap/time.Second))
		case gap < time.Hour:
			all = append(all, fmt.Sprintf("%d %s", gap/time.Minute, minutes))
		default:
			all = append(all, fmt.Sprintf("%d h", gap/time.Hour))
		}
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " " + and + " " + all[last]
}

// filesEnding are those of the repository, without what tools put there.
func filesEnding(t *testing.T, end string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(p, end):
			files = append(files, filepath.ToSlash(p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var (
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
	code    = regexp.MustCompile("`[^`\n]*`")
	linked  = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)

	goTest     = regexp.MustCompile("go test [^`\n#]*")
	testFunc   = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	metricName = regexp.MustCompile(`"(recapito_\w+)"`)
	flagName   = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)`)
	goFile     = regexp.MustCompile(`^\w+/[\w/]+\.go$|^main\.go$`)
)

// linksIn returns the links of a document that lead into the repository.
func linksIn(t *testing.T, file string) (links []string) {
	t.Helper()
	for _, m := range linked.FindAllStringSubmatch(code.ReplaceAllString(prose(t, file), ""), -1) {
		if u, err := url.Parse(m[1]); err != nil || u.Scheme == "" {
			links = append(links, m[1])
		}
	}
	return links
}

// prose is a document without its blocks of code.
func prose(t *testing.T, file string) string {
	t.Helper()
	return fenced.ReplaceAllString(read(t, file), "")
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// broken says what is wrong with a link, if anything is.
func broken(t *testing.T, from, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		return err.Error()
	}
	target := from
	if u.Path != "" {
		target = path.Join(path.Dir(from), u.Path)
	}
	if _, err := os.Stat(target); err != nil {
		return err.Error()
	}
	if u.Fragment == "" {
		return ""
	}
	for _, m := range heading.FindAllStringSubmatch(prose(t, target), -1) {
		if anchor(m[1]) == u.Fragment {
			return ""
		}
	}
	return "there is no such heading"
}

// anchor is the name that GitHub gives a heading.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return r
		}
		return -1
	}, strings.ToLower(heading))
}
