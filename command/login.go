package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/recapito/recapito/command/api"
	"github.com/recapito/recapito/command/terminal"
	"github.com/recapito/recapito/gen/client"
)

type loginCmd struct {
	serverFlags
}

// Help is shown by login --help.
func (loginCmd) Help() string {
	return `Keeps a server and an API key for the other commands of an account. The key is
checked against the server first. Without --api-key-file it is asked for, or read from
standard input:

  recapito login --server https://api.example.com < key-file

The profile is a file that only you can read; to log out, remove it. A key that is
given with --api-key or RECAPITO_API_KEY goes before the profile's, and the profile's
key is sent to no other server.`
}

// Run says where it wrote.
func (c *loginCmd) Run(ctx context.Context, std Streams) error {
	file, err := api.ProfileFile(c.Profile)
	if err != nil {
		return err
	}
	in := bufio.NewReader(std.In)
	if c.Server == "" {
		if c.Server, err = ask(std, in, "Server", defaultServer); err != nil {
			return err
		}
	}
	if err := c.Validate(); err != nil {
		return err
	}
	if c.APIKey, err = secret("api-key", c.APIKey, c.APIKeyFile); err != nil {
		return err
	}
	if c.APIKey == "" {
		if c.APIKey, err = askSecret(std, in, "API key"); err != nil {
			return err
		}
	}
	said, err := c.check(ctx)
	if err != nil {
		return err
	}
	if sentInClear(c.Server) {
		note(std, "The key goes to %s without encryption: use https://, if the server has it.", c.Server)
	}
	if err := (api.Profile{Server: c.Server, APIKey: c.APIKey}).Write(file); err != nil {
		return fmt.Errorf("the profile cannot be written: %w", err)
	}
	_, err = fmt.Fprintf(std.Out, "%s takes the key: %s\nkept in %s\n", c.Server, said, file)
	return err
}

// check asks the server whether it takes the key, and says what it is for.
func (c *loginCmd) check(ctx context.Context) (string, error) {
	server, err := api.ForAccount(c.Server, c.APIKey)
	if err != nil {
		return "", err
	}
	r, err := server.GetWebhookWithResponse(ctx)
	switch {
	case err != nil:
		return "", server.Failed(err)
	case r.JSON200 != nil:
		return fmt.Sprintf("webhook %s, %s, to %s", r.JSON200.ID, r.JSON200.Status, r.JSON200.CallbackURL), nil
	case r.StatusCode() == http.StatusNotFound && api.CodeOf(r.Body) == client.ProblemCodeWEBHOOKNOTFOUND:
		return "no webhook yet; set one: recapito webhook set https://…", nil
	case r.StatusCode() == http.StatusUnauthorized:
		return "", fmt.Errorf("%s refuses the API key: nothing was kept", c.Server)
	}
	return "", server.Refused(r.HTTPResponse, r.Body)
}

// sentInClear tells whether others on the way could read what is sent to a server.
func sentInClear(server string) bool {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// ask asks a person at a terminal; anybody else gets the answer for nothing.
func ask(std Streams, in *bufio.Reader, what, otherwise string) (string, error) {
	if !atTerminal(std) {
		return otherwise, nil
	}
	if _, err := fmt.Fprintf(std.Err, "%s [%s]: ", what, otherwise); err != nil {
		return "", err
	}
	answer, err := in.ReadString('\n')
	if answer = strings.TrimSpace(answer); answer != "" {
		return answer, nil
	}
	if err != nil {
		return "", errors.New("interrupted")
	}
	return otherwise, nil
}

// askSecret asks without showing what is typed, or reads one line.
func askSecret(std Streams, in *bufio.Reader, what string) (string, error) {
	text, err := "", error(nil)
	if atTerminal(std) {
		if _, err := fmt.Fprintf(std.Err, "%s (not shown): ", what); err != nil {
			return "", err
		}
		var typed []byte
		typed, err = term.ReadPassword(int(std.In.(*os.File).Fd()))
		_, _ = fmt.Fprintln(std.Err) // the end of the line that was not shown
		text = string(typed)
	} else {
		text, err = in.ReadString('\n')
	}
	if text = strings.TrimSpace(text); text != "" {
		return text, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return "", fmt.Errorf("no %s was given", what)
}

// atTerminal tells whether a person answers.
func atTerminal(std Streams) bool {
	f, ok := std.In.(io.Writer) // a file
	return ok && terminal.Is(f)
}
