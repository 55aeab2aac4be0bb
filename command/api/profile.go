package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
)

// Profile is a server and a key for it, kept for the next command. Only its owner may
// read the file.
type Profile struct {
	Server string `json:"server"`
	APIKey string `json:"apiKey"`
}

var profileName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ProfileFile is where the profile of a name is kept; empty: that of the name default.
func ProfileFile(name string) (string, error) {
	if name == "" {
		name = "default"
	}
	if !profileName.MatchString(name) {
		return "", fmt.Errorf("%q: must be 1 to 64 of A–Z a–z 0–9 _ -", name)
	}
	return ConfigFile(name + ".json")
}

// ConfigFile is where this user's file of a name is kept.
func ConfigFile(name string) (string, error) {
	dir, err := os.UserConfigDir()
	return filepath.Join(dir, "recapito", name), err
}

// ReadProfile returns [fs.ErrNotExist] if there is none.
func ReadProfile(file string) (Profile, error) {
	info, err := os.Stat(file)
	if err != nil {
		return Profile{}, err
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return Profile{}, fmt.Errorf("others can read the key in %s: end the key, and log in again with another one", file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return Profile{}, err
	}
	var p Profile
	if json.Unmarshal(text, &p) != nil || p.Server == "" || p.APIKey == "" {
		return Profile{}, fmt.Errorf("%s is not a profile: log in again: recapito login", file)
	}
	return p, nil
}

// Write keeps the profile in the file, in place of the one that is there.
func (p Profile) Write(file string) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error says what matters
	}
	return err
}
