package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/recapito/recapito/store"
)

// mostSecrets is how many values a secret has at a time: the new one and the one
// before, while it is changed.
const mostSecrets = 2

// secrets are the values that a flag gives, or the file that the flag of the same
// name with -file gives, or else the file of the flag's name among systemd's
// credentials: the new one first. Empty: there is none. No error repeats a value.
func secrets(flag, text, file string) ([]string, error) {
	source := "--" + flag
	switch {
	case text != "" && file != "":
		return nil, fmt.Errorf("--%s and --%[1]s-file: give one of them", flag)
	case text == "" && file == "":
		if file = credential(flag); file == "" {
			return nil, nil
		}
		source = file
	case file != "":
		source = fmt.Sprintf("--%s-file %s", flag, file)
	}
	if file != "" {
		var err error
		if text, err = secretFile(file); err != nil {
			return nil, fmt.Errorf("--%s-file: %w", flag, err)
		}
	}
	values := strings.Fields(text)
	switch n := len(values); {
	case n == 0:
		return nil, fmt.Errorf("%s: is empty", source)
	case n > mostSecrets:
		return nil, fmt.Errorf("%s: has %d values; give one, or two while it is changed, the new one first", source, n)
	}
	return values, nil
}

// secret is the first of secrets, or "".
func secret(flag, text, file string) (string, error) {
	values, err := secrets(flag, text, file)
	if len(values) == 0 {
		return "", err
	}
	return values[0], nil
}

// credential is the file of a name that systemd gives to the service
// (systemd.exec(5), LoadCredential=), or "".
func credential(name string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return ""
	}
	file := filepath.Join(dir, name)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return file
}

// secretFileSize is more than any secret takes.
const secretFileSize = 4 << 10

func secretFile(file string) (_ string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(io.LimitReader(f, secretFileSize+1))
	if err == nil && len(text) > secretFileSize {
		err = fmt.Errorf("%s: is longer than %d bytes: it is not the file of a key", file, secretFileSize)
	}
	return string(text), err
}

// platformKeyFlags give the platform key.
type platformKeyFlags struct {
	PlatformKey     string `placeholder:"KEY" help:"The platform's bearer key; while it is changed two, the new one first, with a space between. Other users of the machine can see the command line: use the variable, or --platform-key-file."`
	PlatformKeyFile string `type:"path" placeholder:"FILE" help:"File of the platform's bearer key: one line, or two while it is changed, the new one first. Default: platform-key in $$CREDENTIALS_DIRECTORY, if it is there."`
}

// platformKeyLength is the least length of a platform key.
const platformKeyLength = 16

// platformKeys are the given ones; empty: none.
func (f *platformKeyFlags) platformKeys() ([]string, error) {
	keys, err := secrets("platform-key", f.PlatformKey, f.PlatformKeyFile)
	for _, key := range keys {
		if len(key) < platformKeyLength {
			return nil, fmt.Errorf("--platform-key: must have at least %d characters", platformKeyLength)
		}
	}
	return keys, err
}

// platformKey is the given one, the new one of two, of a command that calls a server.
func (f *platformKeyFlags) platformKey() (string, error) {
	keys, err := f.platformKeys()
	switch {
	case err != nil:
		return "", err
	case len(keys) == 0:
		return "", &exitError{exitUsage, errors.New("no platform key: give one with --platform-key-file or RECAPITO_PLATFORM_KEY")}
	}
	return keys[0], nil
}

// makePlatformKey makes a key in a new file that only this user can read, and says
// where it is. A key that is there already is taken. Without a file it shows the key.
func makePlatformKey(std Streams, file string) (string, error) {
	if file == "" {
		key := store.NewID("platform_")
		_, err := fmt.Fprintf(std.Err, "\nA platform key was made. It is shown only now, and ends with the process:\n\n    %s\n\n", key)
		return key, err
	}
	key, err := keyInNewFile(file)
	if errors.Is(err, fs.ErrExist) {
		keys, err := (&platformKeyFlags{PlatformKeyFile: file}).platformKeys()
		if err != nil {
			return "", err
		}
		key = keys[0]
	} else if err != nil {
		return "", fmt.Errorf("the platform key cannot be kept: %w: give one with --platform-key-file", err)
	}
	_, err = fmt.Fprintf(std.Err, "\nThe platform key is in %s.\nKeep it where your platform keeps its secrets. The store has its digest alone.\n\n", file)
	return key, err
}

func keyInNewFile(file string) (key string, err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	key = store.NewID("platform_")
	_, err = fmt.Fprintln(f, key)
	return key, errors.Join(err, f.Sync(), f.Close())
}
