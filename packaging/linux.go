package main

import (
	"io"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // the formats
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// linuxPackage writes a .deb or an .rpm, as linux/nfpm.yaml describes it, under the
// name that its distributions expect.
func (s *source) linuxPackage(format string, b binary, out string) error {
	back, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := os.Chdir(s.dir); err != nil { // nfpm's paths begin where the process is
		return err
	}
	defer func() { _ = os.Chdir(back) }()
	values := map[string]string{"ARCH": b.arch, "VERSION": s.version, "BINARY": b.file}
	config, err := nfpm.ParseFileWithEnvMapping(s.path("packaging/linux/nfpm.yaml"), func(name string) string { return values[name] })
	if err != nil {
		return err
	}
	info, err := config.Get(format)
	if err != nil {
		return err
	}
	info.MTime = s.at
	info = nfpm.WithDefaults(info)
	if err := nfpm.Validate(info); err != nil {
		return err
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	return create(filepath.Join(out, packager.ConventionalFileName(info)), func(w io.Writer) error { return packager.Package(info, w) })
}
