package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// builtDir is where the release of the commit is; "": not built yet.
var builtDir string

// builtOnce builds it for the first test that asks.
var builtOnce = sync.OnceValue(func() (err error) {
	if builtDir, err = os.MkdirTemp("", "recapito-built-"); err != nil {
		return err
	}
	return run("", []string{"..", builtDir})
})

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(builtDir)
	os.Exit(code)
}

func built(t *testing.T) string {
	t.Helper()
	if err := builtOnce(); err != nil {
		t.Fatal(err)
	}
	return builtDir
}

// one is the only file of the release that matches.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v, want one file", pattern, found, err)
	}
	return found[0]
}

func deb(t *testing.T, dir string) string { return one(t, dir, "*_"+runtime.GOARCH+".deb") }

// unpacked is the binary for this machine out of its archive.
func unpacked(t *testing.T, release string) string {
	t.Helper()
	dir := t.TempDir()
	command(t, "tar", "-xzf", one(t, release, "*_linux_"+runtime.GOARCH+".tar.gz"), "-C", dir, "--strip-components=1")
	return filepath.Join(dir, "recapito")
}

// packageOf is the commit's package, deb or rpm, under another version.
func packageOf(t *testing.T, format, version string) string {
	t.Helper()
	src, err := openSource("..")
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	if err := src.setVersion(version); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	b, err := src.build(platform{"linux", runtime.GOARCH}, out)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.linuxPackage(format, b, out); err != nil {
		t.Fatal(err)
	}
	return one(t, out, "*."+format)
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// A clone, and a source archive in another folder, give the same bytes.
func TestReleaseIsReproducible(t *testing.T) {
	first, other := built(t), t.TempDir()
	archive := filepath.Join(t.TempDir(), "another", "folder")
	if err := os.MkdirAll(archive, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, "sh", "-c", `git -C .. archive HEAD | tar -xf - -C "$0"`, archive)
	if err := run("", []string{archive, other}); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(first, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(other, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the second release is\n%s, the first one\n%s", got, want)
	}
}

// Every file is there, and the checksums are those of the files.
func TestReleaseIsComplete(t *testing.T) {
	dir := built(t)
	for _, pattern := range []string{
		"*_linux_amd64.tar.gz", "*_linux_arm64.tar.gz", "*_darwin_arm64.tar.gz", "*_windows_amd64.zip",
		"*_amd64.deb", "*_arm64.deb", "*.x86_64.rpm", "*.aarch64.rpm", "*_oci.tar", "recapito-*.tgz",
	} {
		one(t, dir, pattern)
	}
	if out, err := exec.Command("sh", "-c", `cd "$0" && sha256sum --check --strict --quiet SHA256SUMS`, dir).CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	var bill struct {
		Components []struct{ Name, Version string }
	}
	text, err := os.ReadFile(one(t, dir, "*_linux_amd64.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range bill.Components {
		found = found || c.Name == "modernc.org/sqlite" && c.Version != ""
	}
	if !found {
		t.Errorf("the bill of materials lacks modernc.org/sqlite: %.2000s", text)
	}
}

// The binary says what it was built from.
func TestBinaryTellsItsCommit(t *testing.T) {
	commit := command(t, "git", "rev-parse", "HEAD")
	got := command(t, unpacked(t, built(t)), "--version")
	if want := "(commit " + commit[:12] + ")\n"; !strings.HasSuffix(got, want) {
		t.Errorf("--version: %q, want it to end in %q", got, want)
	}
}

// The image is whole, for two platforms, and its service runs as its user with nothing
// but its own files.
func TestImageRuns(t *testing.T) {
	index, root, config := openImage(t)
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(manifest.Manifests); got != 2 {
		t.Errorf("the image is for %d platforms, want 2", got)
	}
	if config.User != imageUserName {
		t.Errorf("the image runs as %q, want %q", config.User, imageUserName)
	}
	runImage(t, root, config, config.Cmd, config.Env, "/readyz")
}

// openImage unpacks the image for this machine.
func openImage(t *testing.T) (index v1.ImageIndex, root string, config v1.Config) {
	t.Helper()
	dir, root := t.TempDir(), t.TempDir()
	command(t, "tar", "-xf", one(t, built(t), "*_oci.tar"), "-C", dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	images, err := partial.FindImages(index, match.Platforms(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil || len(images) != 1 {
		t.Fatalf("%d images for this machine, %v, want one", len(images), err)
	}
	file, err := images[0].ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	unpack := exec.Command("tar", "-xpf", "-", "--same-owner", "-C", root)
	unpack.Stdin = mutate.Extract(images[0])
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return index, root, file.Config
}

// runImage starts the service in its root as its user, waits until each probe answers,
// and ends it in order.
func runImage(t *testing.T, root string, config v1.Config, args, env []string, probes ...string) {
	t.Helper()
	ops := freeAddress(t)
	var log strings.Builder
	args = append(slices.Concat(config.Entrypoint, args), "--listen", freeAddress(t), "--ops-listen", ops)
	cmd := &exec.Cmd{Path: args[0], Args: args, Env: env, Dir: config.WorkingDir, Stderr: &log,
		SysProcAttr: &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: imageUser, Gid: imageUser}, Pdeathsig: syscall.SIGKILL}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	for _, probe := range probes {
		eventually(t, probe, func() bool {
			resp, err := http.Get("http://" + ops + probe)
			if err != nil {
				return false
			}
			resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the service ended with %v:\n%s", err, log.String())
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
