package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver of checkIntegrity

	"github.com/recapito/recapito/verify/rig"
)

// errCannot: the scenario cannot be had on this machine. The short form goes
// on without it, but not in CI.
var errCannot = errors.New("cannot be had here")

// needs looks for root and for the tools that a scenario uses.
func needs(tools ...string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it needs root", errCannot)
	}
	for _, t := range tools {
		if _, err := exec.LookPath(t); err != nil {
			return fmt.Errorf("%w: %w", errCannot, err)
		}
	}
	return nil
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// image is a file system in a file, mounted on a loop device.
type image struct{ file, dir string }

// image makes and mounts one of the kind that mkfs.KIND makes.
func (l *lab) image(kind string, mib int64) (*image, error) {
	l.sites++
	base := filepath.Join(l.dir, fmt.Sprint("image", l.sites))
	im := &image{file: base + ".img", dir: base}
	f, err := os.Create(im.file)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(mib<<20), f.Close(), os.Mkdir(im.dir, 0o700)); err != nil {
		return nil, err
	}
	if err := command("mkfs."+kind, "-q", im.file); err != nil {
		return nil, err
	}
	if err := im.mount(); err != nil {
		return nil, fmt.Errorf("%w: %w", errCannot, err)
	}
	return im, nil
}

func (im *image) mount() error { return command("mount", "-o", "loop", im.file, im.dir) }

// unmount waits for those who still use it, such as a process that is going.
func (im *image) unmount() error {
	var err error
	if rig.Await(10*time.Second, "", func() bool {
		err = command("umount", im.dir)
		return err == nil
	}) != nil {
		return err
	}
	return nil
}

func (im *image) remove() error { return errors.Join(im.unmount(), os.Remove(im.file)) }

// checkIntegrity reads all of a database as a crash left it, log included,
// without changing it.
func checkIntegrity(file string) error {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?mode=ro")
	if err != nil {
		return err
	}
	var answer string
	err = db.QueryRow("PRAGMA integrity_check").Scan(&answer)
	if err == nil && answer != "ok" {
		err = errors.New(answer)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("the database is damaged: %w", err)
	}
	return nil
}
