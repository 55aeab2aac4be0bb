package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"strings"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/command/terminal"
)

// defaultServer is where serve listens at its defaults.
const defaultServer = "http://127.0.0.1:8080"

// serverFlags name the server and the account; the account holder's commands have
// them.
type serverFlags struct {
	Server     string `placeholder:"URL" help:"The running server, its base path included. Default: the profile's, else http://127.0.0.1:8080."`
	APIKey     string `name:"api-key" placeholder:"KEY" help:"The account's API key. Other users of the machine can see the command line: use the variable, or --api-key-file. Default: the profile's."`
	APIKeyFile string `name:"api-key-file" type:"path" placeholder:"FILE" help:"File of the account's API key. Default: api-key in $$CREDENTIALS_DIRECTORY, if it is there."`
	Profile    string `default:"default" placeholder:"NAME" help:"The profile that recapito login keeps. Default: ${default}."`
}

// checkServer returns what is wrong with the URL of a server.
func checkServer(url string) error {
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
		return fmt.Errorf("--server %q: must begin with http:// or https://", url)
	}
	return nil
}

// Validate is called by the parser.
func (f *serverFlags) Validate() error {
	if f.Server != "" {
		if err := checkServer(f.Server); err != nil {
			return err
		}
	}
	if _, err := api.ProfileFile(f.Profile); err != nil {
		return fmt.Errorf("--profile %w", err)
	}
	return nil
}

// connect takes from the profile what no flag says. The profile's key goes to the
// profile's server alone.
func (f *serverFlags) connect() (*api.Server, error) {
	given, err := secret("api-key", f.APIKey, f.APIKeyFile)
	if err != nil {
		return nil, err
	}
	if f.Server != "" && given != "" {
		return api.ForAccount(f.Server, given)
	}
	file, err := api.ProfileFile(f.Profile)
	if err != nil {
		return nil, err
	}
	kept, err := api.ReadProfile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	server, key := f.Server, given
	if server == "" {
		server = kept.Server
	}
	if server == "" {
		server = defaultServer
	}
	if key == "" && strings.TrimSuffix(server, "/") == strings.TrimSuffix(kept.Server, "/") {
		key = kept.APIKey
	}
	if key == "" {
		return nil, fmt.Errorf("no API key for %s: log in (recapito login), or give one with --api-key-file or RECAPITO_API_KEY", server)
	}
	return api.ForAccount(server, key)
}

// outputFlags say for whom the output is.
type outputFlags struct {
	JSON bool `name:"json" help:"Print JSON, one object a line. The default where the output is no terminal."`
}

// forPrograms tells whether a program reads the output.
func (f *outputFlags) forPrograms(std Streams) bool { return f.JSON || !terminal.Is(std.Out) }

// asGiven prints a JSON text of the server on one line.
func asGiven(std Streams, text []byte) error {
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		return err
	}
	_, err := fmt.Fprintln(std.Out, line.String())
	return err
}

// note tells people something beside the output.
func note(std Streams, format string, args ...any) {
	log.New(std.Err, "", 0).Printf(format, args...)
}

// mostInPage is the limit of the API's lists.
const mostInPage = 100

// readPages takes item after item of a list, up to the limit (0: all). get reads a
// page; more: there may be others.
func readPages(limit int, take func(json.RawMessage) error,
	get func(limit int32, cursor *string) (page []json.RawMessage, next *string, err error)) (more bool, err error) {
	var cursor *string
	for left := limit; ; {
		ask := int32(mostInPage)
		if limit > 0 {
			ask = int32(min(left, mostInPage))
		}
		page, next, err := get(ask, cursor)
		if err != nil {
			return false, err
		}
		for _, item := range page {
			if err := take(item); err != nil {
				return false, err
			}
		}
		left -= len(page)
		if cursor = next; cursor == nil || limit > 0 && left <= 0 {
			return cursor != nil, nil
		}
	}
}
