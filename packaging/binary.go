package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// platform is what a binary runs on, in Go's words.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// platforms are those of a release.
var platforms = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "arm64"}, {"windows", "amd64"}}

// binary is one that was built.
type binary struct {
	platform
	file string
}

// build builds the static binary. No path and nothing of git is in it but the version
// and the commit.
func (s *source) build(p platform, dir string) (binary, error) {
	b := binary{p, filepath.Join(dir, p.os+"_"+p.arch, "recapito")}
	if p.os == "windows" {
		b.file += ".exe"
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X github.com/recapito/recapito/command.commit="+s.commit, "-o", b.file, ".")
	cmd.Dir, cmd.Stderr = s.dir, os.Stderr
	cmd.Env = append(os.Environ(), "GOOS="+p.os, "GOARCH="+p.arch, "CGO_ENABLED=0",
		"GOFLAGS=", "GOWORK=off", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=")
	return b, cmd.Run()
}

// cyclonedx is the tool that reads a binary's modules.
const cyclonedx = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"

// bill writes the software bill of materials of a binary: its modules, with their
// checksums, as CycloneDX.
func (s *source) bill(b binary, file string) error {
	cmd := exec.Command("go", "run", "-trimpath", cyclonedx,
		"bin", "-json", "-std", "-noserial", "-notimestamp", "-version", "v"+s.version, "-output", file, b.file)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cyclonedx-gomod: %w\n%s", err, out)
	}
	return nil
}
