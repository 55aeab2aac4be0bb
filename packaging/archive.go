package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// archived are the files of the source that stand beside the binary.
var archived = []string{"LICENSE", "README.md", "CHANGELOG.md", "docs/*.md", "packaging/prometheus/alerts.yaml", "packaging/grafana/recapito.json", "packaging/maps/*.jq"}

// archive writes a .tar.gz, for Windows a .zip, with one folder in it.
func (s *source) archive(b binary, base string) error {
	files := []entry{{name: filepath.Base(b.file), file: b.file, mode: 0o755}}
	for _, pattern := range archived {
		found, err := filepath.Glob(s.path(pattern))
		if err != nil || found == nil {
			return errors.Join(err, errors.New("no file: "+pattern))
		}
		for _, file := range found {
			name, err := filepath.Rel(s.dir, file)
			if err != nil {
				return err
			}
			files = append(files, entry{name: filepath.ToSlash(name), file: file, mode: 0o644})
		}
	}
	for i := range files {
		files[i].name = path.Join(filepath.Base(base), files[i].name)
	}
	if b.os == "windows" {
		return create(base+".zip", func(w io.Writer) error { return s.zip(w, files) })
	}
	return create(base+".tar.gz", func(w io.Writer) error {
		z := gzip.NewWriter(w)
		return errors.Join(s.tar(z, files), z.Close())
	})
}

// chart writes the Helm chart under the name that helm gives it.
func (s *source) chart(out string) error {
	return create(filepath.Join(out, "recapito-"+s.version+".tgz"), func(w io.Writer) error {
		z := gzip.NewWriter(w)
		return errors.Join(s.tarFolder(z, s.path("packaging/helm/recapito"), "recapito"), z.Close())
	})
}

// create makes a file of what write writes.
func create(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// entry is a file of an archive. Without file and content it is a folder.
type entry struct {
	name    string
	file    string // on disk
	content []byte // instead of file
	mode    int64
	uid     int
}

func (e entry) read() ([]byte, error) {
	if e.file != "" {
		return os.ReadFile(e.file)
	}
	return e.content, nil
}

// tar writes the entries in their order, with the commit's time.
func (s *source) tar(w io.Writer, entries []entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		content, err := e.read()
		if err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Uid: e.uid, Gid: e.uid, Size: int64(len(content)), ModTime: s.at}
		if content == nil {
			h.Typeflag, h.Name = tar.TypeDir, e.name+"/"
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(content); err != nil {
			return err
		}
	}
	return t.Close()
}

// tarFolder writes the files of a folder, by name, under another name.
func (s *source) tarFolder(w io.Writer, dir, as string) error {
	var entries []entry
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, file)
		entries = append(entries, entry{name: path.Join(as, filepath.ToSlash(name)), file: file, mode: 0o644})
		return err
	})
	if err != nil {
		return err
	}
	return s.tar(w, entries)
}

// zip is tar for Windows.
func (s *source) zip(w io.Writer, entries []entry) error {
	z := zip.NewWriter(w)
	for _, e := range entries {
		content, err := e.read()
		if err != nil {
			return err
		}
		f, err := z.CreateHeader(&zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: s.at})
		if err != nil {
			return err
		}
		if _, err := f.Write(content); err != nil {
			return err
		}
	}
	return z.Close()
}
