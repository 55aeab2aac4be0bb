// Command packaging builds a release of Recapito: archives, .deb and .rpm packages, an
// OCI image, the Helm chart, software bills of materials (SBOM), and checksums. It
// builds what is committed, or the source archive that it stands in, and the same source
// and Go version give the same bytes, wherever they are built.
//
//	packaging [-version VERSION] SOURCE OUT
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	version := flag.String("version", "", "the version; default: that of command/VERSION")
	flag.Parse()
	if err := run(*version, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func run(version string, args []string) error {
	if len(args) != 2 {
		return errors.New("want two arguments: the top of the repository, and the folder to make")
	}
	out, err := filepath.Abs(args[1])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	src, err := openSource(args[0])
	if err != nil {
		return err
	}
	defer src.close()
	if version != "" {
		if err := src.setVersion(version); err != nil {
			return err
		}
	}
	return release(src, out)
}

// release builds everything into out.
func release(src *source, out string) error {
	work, err := os.MkdirTemp("", "recapito-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	var binaries []binary
	for _, p := range platforms {
		b, err := src.build(p, work)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		binaries = append(binaries, b)
	}
	for _, b := range binaries {
		base := filepath.Join(out, fmt.Sprintf("recapito_%s_%s_%s", src.version, b.os, b.arch))
		if err := errors.Join(src.archive(b, base), src.bill(b, base+".cdx.json")); err != nil {
			return fmt.Errorf("%s: %w", b.platform, err)
		}
		if b.os == "linux" {
			if err := errors.Join(src.linuxPackage("deb", b, out), src.linuxPackage("rpm", b, out)); err != nil {
				return fmt.Errorf("%s: %w", b.platform, err)
			}
		}
	}
	if err := src.image(binaries, filepath.Join(out, fmt.Sprintf("recapito_%s_oci.tar", src.version))); err != nil {
		return fmt.Errorf("the image: %w", err)
	}
	if err := src.chart(out); err != nil {
		return fmt.Errorf("the chart: %w", err)
	}
	return checksums(out)
}

// checksums writes SHA256SUMS over the other files of the folder, for sha256sum -c.
func checksums(dir string) error {
	const name = "SHA256SUMS"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, e := range entries {
		if e.Name() == name || e.IsDir() {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256(content), e.Name())
	}
	return os.WriteFile(filepath.Join(dir, name), []byte(lines.String()), 0o644)
}
