package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// permissions looks who may read and write the files, and whether we may.
func permissions(cfg Config) (found []Finding) {
	if runtime.GOOS == "windows" {
		return nil // it has access control lists instead
	}
	const check = "permissions"
	for _, file := range storeFiles(cfg.Database) {
		found = append(found, mode(check, file, 0o077, "it holds payloads and secrets: chmod 600 it"))
	}
	for _, file := range cfg.Secrets {
		found = append(found, readable(check, file), mode(check, file, 0o027, "it holds a key: chmod 600 it, or 640 for a group of its own"))
	}
	found = append(found, owners(check, storeFiles(cfg.Database)))
	if cfg.Database != "" {
		found = append(found, ofFolder(check, filepath.Dir(cfg.Database)))
	}
	if found = together(found); len(found) == 0 {
		return []Finding{ok(check, "the files are for their user alone")}
	}
	return found
}

// storeFiles are the files of a database that are there.
func storeFiles(database string) (files []string) {
	if database == "" {
		return nil
	}
	for _, suffix := range []string{"", "-wal", "-shm", ".platform-key"} {
		if _, err := os.Stat(database + suffix); err == nil {
			files = append(files, database+suffix)
		}
	}
	return files
}

// readable finds fault with a file that we cannot read. It is not for the store's: to
// close one of them would end the locks that SQLite has on it in this process.
func readable(check, file string) Finding {
	f, err := os.Open(file)
	if err != nil {
		return failure(check, fmt.Sprintf("%s cannot be read: %v", file, errors.Unwrap(err)), "run this as the service's user; make it the file's owner")
	}
	_ = f.Close() // only read
	return Finding{}
}

// mode finds fault with a file that has any of these permissions.
func mode(check, file string, none fs.FileMode, do string) Finding {
	info, err := os.Stat(file)
	if err == nil && info.Mode().Perm()&none != 0 {
		return warning(check, fmt.Sprintf("other users of this machine may read or write %s (%s)", file, info.Mode().Perm()), do)
	}
	return Finding{}
}

// owners finds fault with a database whose files belong to several users: as after a
// command was run as root.
func owners(check string, files []string) Finding {
	for _, file := range files {
		if first, this := owner(files[0]), owner(file); first != this {
			return failure(check, fmt.Sprintf("%s belongs to user %d, and %s to user %d", files[0], first, file, this),
				"give them the service's user as their owner (chown), and run commands that open the store as this user")
		}
	}
	return Finding{}
}

// ofFolder finds fault with a folder that we cannot write, or everybody can.
func ofFolder(check, dir string) Finding {
	info, err := os.Stat(dir)
	if err != nil {
		return failure(check, fmt.Sprintf("the store's folder %s: %v", dir, errors.Unwrap(err)), "make it, for the service's user")
	}
	if mode := info.Mode(); mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0 {
		return warning(check, fmt.Sprintf("every user of this machine may replace the files in %s (%s)", dir, mode.Perm()), "chmod 700 it")
	}
	f, err := os.CreateTemp(dir, probe)
	if err != nil {
		return failure(check, fmt.Sprintf("%s cannot be written: %v", dir, errors.Unwrap(err)), "run this as the service's user; make it the folder's owner")
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return failure(check, err.Error(), "look at the disk")
	}
	return Finding{}
}

// probe names the files that are made and removed.
const probe = ".recapito-doctor-*"
