package main

import (
	"bytes"
	"encoding/pem"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// imageUser is whom the image runs as: nobody that a machine knows.
const imageUser, imageUserName = 65532, "65532:65532"

// imageData is the image's data directory.
const imageData = "/var/lib/recapito"

// image writes one image for every Linux as an OCI archive: podman, skopeo and docker
// load it.
func (s *source) image(binaries []binary, file string) error {
	index := mutate.Annotations(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), s.labels()).(v1.ImageIndex)
	for _, b := range binaries {
		if b.os != "linux" {
			continue
		}
		img, err := s.imageFor(b)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: b.os, Architecture: b.arch}}})
	}
	dir, err := os.MkdirTemp("", "recapito-image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := layout.Write(dir, index); err != nil {
		return err
	}
	return create(file, func(w io.Writer) error { return s.tarFolder(w, dir, "") })
}

// imageFor has the binary, the certificate authorities and the data directory, and
// nothing else.
func (s *source) imageFor(b binary) (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		var content bytes.Buffer
		err := s.tar(&content, []entry{
			{name: "etc/ssl/certs/ca-certificates.crt", content: authorities(), mode: 0o644},
			{name: "recapito", file: b.file, mode: 0o755},
			{name: "tmp", mode: 0o1777},
			{name: imageData[1:], mode: 0o700, uid: imageUser},
		})
		return io.NopCloser(&content), err
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1),
		mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "recapito's packaging", Created: v1.Time{Time: s.at}}})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = b.os, b.arch, v1.Time{Time: s.at}
	config.Config = v1.Config{
		User: imageUserName, WorkingDir: imageData, Entrypoint: []string{"/recapito"}, Cmd: []string{"serve"},
		Env:          []string{"RECAPITO_STORE=sqlite:" + imageData + "/recapito.db"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}}, Volumes: map[string]struct{}{imageData: {}}, Labels: s.labels(),
	}
	return mutate.ConfigFile(img, config)
}

func (s *source) labels() map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title": "recapito", prefix + "version": s.version, prefix + "revision": s.commit,
		prefix + "source": "https://github.com/recapito/recapito", prefix + "licenses": "Apache-2.0",
	}
}

// authorities are Mozilla's, those without further constraints, as PEM.
func authorities() []byte {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil { // a file cannot tell a constraint
			_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer never fails
		}
	}
	return text.Bytes()
}
