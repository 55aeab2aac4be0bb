//go:build contract

package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const litestreamVersion = "v0.5.18"

// litestream installs it, once, in a module of its own, and returns its
// directory.
func litestream(t *testing.T) (dir string) {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(".cache", "litestream-"+litestreamVersion))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "litestream")); err == nil {
		return dir
	}
	cmd := exec.Command("go", "install", "github.com/benbjohnson/litestream/cmd/litestream@"+litestreamVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go install litestream: %v\n%s", err, out)
	}
	return dir
}

// Litestream replicates a store that is served. Nothing is lost but what it has
// not copied, and the service says nothing of it.
func TestContractLitestreamReplicates(t *testing.T) {
	m, ca, path := newManual(t), newAuthority(t), litestream(t)
	to := newSink(t, ca)
	first := serve(t, m.bin, m.db(), "--callback-ca", ca.file) // makes the store
	first.terminate()
	var log bytes.Buffer
	replicate := m.command("exec "+m.block("litestream replicate"), path)
	replicate.Stdout, replicate.Stderr = &log, &log
	if err := replicate.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = replicate.Process.Kill() }()

	svc := serve(t, m.bin, m.db(), "--callback-ca", ca.file)
	eventually(t, "Litestream's first copy", func() bool {
		copied := false
		_ = filepath.WalkDir(m.dir+"/backup/replica", func(_ string, d fs.DirEntry, err error) error {
			copied = copied || err == nil && d.Type().IsRegular()
			return nil
		})
		return copied
	})
	svc.register(to, "acc", svc.account("acc"))
	const batches, size = 60, 100 // some 10 MiB of log
	for i := range batches {
		batch := make([]string, size)
		for j := range batch {
			batch[j] = event("acc", fmt.Sprintf("e%d-%d", i, j), fmt.Sprintf("m%d-%d", i, j), "SENT")
		}
		feed(t, svc, 1, [][]string{batch})
	}
	eventually(t, "all outcomes", func() bool { return metric(t, svc, `recapito_deliveries{state="DELIVERED"}`) == batches*size })
	svc.terminate()
	if text := svc.log.String(); strings.Contains(text, "WARN") || strings.Contains(text, "ERROR") {
		t.Errorf("the service beside Litestream logs: %s", text)
	}
	_ = replicate.Process.Signal(syscall.SIGINT) // it copies what is left
	if err := replicate.Wait(); err != nil {
		t.Logf("litestream ended with %v:\n%s", err, &log)
	}
	svc = serve(t, m.bin, m.db(), "--callback-ca", ca.file) // starts on what Litestream has left
	svc.kill()
	m.run(fmt.Sprintf("cd '%s' && mkdir old && mv recapito.db* old", filepath.Dir(m.db())))
	out := m.run(m.block("litestream restore"), path)
	if want := fmt.Sprintf("it holds %d deliveries, 0 of them PENDING", batches*size); !strings.Contains(out, want) {
		t.Errorf("recapito restore of Litestream's copy says %q, want %q", out, want)
	}
	svc = serve(t, m.bin, m.db(), "--callback-ca", ca.file)
	if got := metric(t, svc, `recapito_deliveries{state="DELIVERED"}`); got != batches*size {
		t.Errorf("%v deliveries are DELIVERED after the restore, want %d", got, batches*size)
	}
}
