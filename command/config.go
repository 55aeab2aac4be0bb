package command

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Say what is wrong with the configuration of serve, and start nothing."`
}

// configCheckCmd has the flags of serve.
type configCheckCmd struct {
	serveCmd
}

// Help is shown by config check --help.
func (configCheckCmd) Help() string {
	return `Takes the flags, the variables and the --env-file of serve, reads the files that they
name, and says all that is wrong. Ends with exit code 2 then. It opens no store and no
port: recapito doctor looks at these.`
}

// Validate is called by the parser: Run says what is wrong.
func (c *configCheckCmd) Validate() error { return nil }

// Run says each mistake on a line of its own.
func (c *configCheckCmd) Run(std Streams) error {
	wrong := c.mistakes()
	if live, _ := c.live(); live.Certificate != nil && time.Now().After(live.Certificate.Leaf.NotAfter) {
		wrong = append(wrong, fmt.Errorf("--tls-cert %s: has expired on %s: renew it", c.TLSCert, live.Certificate.Leaf.NotAfter.Format(time.DateOnly)))
	}
	for _, err := range wrong {
		note(std, "%s", oneLine(err))
	}
	switch n := len(wrong); n {
	case 0:
		_, err := fmt.Fprintln(std.Out, "the configuration is good")
		return err
	case 1:
		return &exitError{exitUsage, errors.New("one mistake: see above")}
	default:
		return &exitError{exitUsage, fmt.Errorf("%d mistakes: see above", n)}
	}
}

// mistakes are all that are found.
func (c *serveCmd) mistakes() []error {
	_, err := c.live()
	wrong := append(each(c.Validate()), each(err)...)
	note := func(err error) {
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	_, noWay := c.egress()
	note(noWay)
	for flag, address := range map[string]string{"listen": c.Listen, "ops-listen": c.OpsListen} {
		if _, err := net.ResolveTCPAddr("tcp", address); err != nil {
			note(fmt.Errorf("--%s %q: want an address and a port, such as 127.0.0.1:8080: %w", flag, address, err))
		}
	}
	if c.Listen == c.OpsListen {
		note(fmt.Errorf("--listen and --ops-listen: both are %s: give each a port of its own", c.Listen))
	}
	if file, err := c.file(); err == nil { // the store is a file
		if dir, err := os.Stat(filepath.Dir(file)); err != nil || !dir.IsDir() {
			note(fmt.Errorf("--store: the directory %s does not exist: make it", filepath.Dir(file)))
		}
	}
	return wrong
}

// each splits what errors.Join has joined.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}
