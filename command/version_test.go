package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// A binary that is built where git knows nothing still says what it is: from what
// git archive wrote, or make was told.
func TestVersionIsKnownWithoutGit(t *testing.T) {
	keptFile, keptCommit := versionFile, commit
	t.Cleanup(func() { versionFile, commit = keptFile, keptCommit })
	const sha = "0123456789abcdef0123456789abcdef01234567"
	tests := []struct{ name, file, commit, want string }{
		{"an archive", "1.2.3\n" + sha + "\n1700000000\n", "", `^1\.2\.3 \(commit 0123456789ab\)$`},
		{"make build", "1.2.3\n$Format:%H$\n$Format:%ct$\n", sha, `^1\.2\.3 \(commit 0123456789ab\)$`},
		{"neither", "1.2.3\n$Format:%H$\n$Format:%ct$\n", "", `^1\.2\.3 \(commit \S+\)$`},
	}
	for _, test := range tests {
		versionFile, commit = test.file, test.commit
		if got := builtFrom(); !regexp.MustCompile(test.want).MatchString(got) {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
	if got, want := version(), "1.2.3"; got != want {
		t.Errorf("version: got %s, want %s", got, want)
	}
}

// git archive writes the commit into VERSION.
func TestArchiveHasTheCommit(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "command"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"command/VERSION", ".gitattributes"} {
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git := exec.Command("sh", "-c", `git init -q && git add . && git -c user.name=a -c user.email=a@b.example commit -qm a &&
		git archive HEAD command/VERSION | tar -xOf - | sed -n 2p && git rev-parse HEAD`)
	git.Dir = dir
	out, err := git.CombinedOutput()
	if err != nil || !regexp.MustCompile(`^([0-9a-f]{40})\n[0-9a-f]{40}\n$`).Match(out) || string(out[:40]) != string(out[41:81]) {
		t.Errorf("got %s, %v, want the commit twice", out, err)
	}
}
