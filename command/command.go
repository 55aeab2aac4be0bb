// Package command is the command line. Each file has one command and turns its flags
// into the configuration of what it runs. [Run] is the whole program without the
// process. What a command does stands in a package below, or in the service's own.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// Run is the whole program without the process: it runs the command that args
// name, prints an error to std.Err, and returns the exit code. The contract is
// openapi.yaml, which the server validates against and shows.
func Run(ctx context.Context, contract []byte, args []string, std Streams) (code int) {
	err := run(ctx, contract, args, std)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(std.Err, "recapito:", oneLine(err)) // there is no other place to say it
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitFailed
}

// Streams are the process's standard streams, or a test's.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// contract is the document that serve serves.
type contract []byte

// The exit codes beside 0; docs/configuration.md tells them.
const (
	exitFailed  = 1
	exitUsage   = 2 // nothing was done
	exitSkipped = 3 // of send
	exitReused  = 4 // of send: skipped, and one at least for its id
	exitForged  = 5 // of verify: not genuine
	exitIll     = 6 // of test-event and health: the endpoint is not well
)

// exitError ends the process with a code other than exitFailed.
type exitError struct {
	code int
	error
}

func (e *exitError) Unwrap() error { return e.error }

// cli is the command line. Every flag can be given as an environment variable:
// RECAPITO_ and its name in capitals, "-" being "_".
type cli struct {
	Serve      serveCmd      `cmd:"" help:"Run the service."`
	Demo       demoCmd       `cmd:"" help:"Show the service at work: server, receiver and traffic in one command. Leaves nothing behind."`
	Listen     listenCmd     `cmd:"" help:"Receive callbacks over HTTPS, verify and print them, for development."`
	Send       sendCmd       `cmd:"" help:"Feed status events from NDJSON to a running server."`
	Feed       feedCmd       `cmd:"" help:"Hand in what a message broker has (Kafka, NATS, RabbitMQ), with maps in the language of jq."`
	Account    accountCmd    `cmd:"" help:"Provision accounts in the store, and list them by harm."`
	Key        keyCmd        `cmd:"" help:"Provision the API keys of an account in the store."`
	Backup     backupCmd     `cmd:"" help:"Copy the store to a new file, beside a running server."`
	Restore    restoreCmd    `cmd:"" help:"Put a backup in place of the store. The server must not run."`
	Copy       copyCmd       `cmd:"" help:"Copy all of a store into a new one, of a file or of PostgreSQL. No server may run."`
	Config     configCmd     `cmd:"" help:"Look at the configuration of serve."`
	Doctor     doctorCmd     `cmd:"" help:"Look at what the service stands on, and say what to do about what is wrong."`
	Rekey      rekeyCmd      `cmd:"" help:"Encrypt what the store keeps encrypted with the new secret key, beside a running server."`
	Login      loginCmd      `cmd:"" help:"Keep a server and an account's API key for the commands below."`
	Webhook    webhookCmd    `cmd:"" help:"Show, set or remove the account's callback URL, and rotate its secret."`
	Deliveries deliveriesCmd `cmd:"" help:"List what was sent to the account's endpoint, or show why one event has not arrived."`
	Health     healthCmd     `cmd:"" help:"Say whether the account's endpoint is well, and what waits."`
	TestEvent  testEventCmd  `cmd:"" help:"Send one signed test to the account's endpoint now, and say what is wrong with it."`
	Probe      probeCmd      `cmd:"" help:"Probe the account's endpoint now, when only probes are made."`
	Replay     replayCmd     `cmd:"" help:"Send an event again, or all that pass filters."`
	Tail       tailCmd       `cmd:"" help:"Show the account's events as they come, and POST each to a program on this machine."`
	Attempts   attemptsCmd   `cmd:"" help:"List every POST to the account's endpoint, and how it ended."`
	Verify     verifyCmd     `cmd:"" help:"Say whether a callback is genuine, and if not why."`

	Version versionCmd `cmd:"" help:"Print the version and the commit that it was built from."`

	Completion completionCmd `cmd:"" help:"Print what makes a shell complete the commands and flags of recapito."`

	EnvFile string `name:"env-file" type:"path" placeholder:"FILE" help:"File of RECAPITO_… variables, NAME=value a line, for those that the environment lacks. serve reads it anew at SIGHUP."`

	ShowVersion kong.VersionFlag `name:"version" env:"-" help:"Print the version and the commit, and end."`
}

const description = `The delivery-status webhook service of a messaging platform: accounts register one
HTTPS callback URL, the platform hands in status events, and each event is POSTed to
its account's URL: signed, retried, in order per message, never lost.

Every flag can be given as an environment variable: --ops-listen is RECAPITO_OPS_LISTEN.
Begin with "recapito demo".`

// helpShown is what kong's Exit panics with: help or the version was asked for and
// printed.
const helpShown = "help was shown"

// run is Run whose error is returned.
func run(ctx context.Context, spec contract, args []string, std Streams) (err error) {
	// kong leaves the parser by its Exit function after --help.
	defer func() {
		switch r := recover(); r {
		case nil:
		case helpShown:
			err = nil
		default:
			panic(r)
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if err := dropEmpty(os.Environ()); err != nil {
		return err
	}
	var c cli
	command, err := parse(ctx, spec, &c, args, std)
	if err != nil {
		return err
	}
	return command.Run(&configuration{started: command, envFile: c.EnvFile, again: func() (*kong.Context, error) {
		return parse(ctx, spec, &cli{}, args, std)
	}})
}

// configuration is what a process was started with, and how it is read anew: the same
// command line and environment, and the file of variables as it is then.
type configuration struct {
	started *kong.Context
	envFile string
	again   func() (*kong.Context, error)
}

func parse(ctx context.Context, spec contract, c *cli, args []string, std Streams) (*kong.Context, error) {
	parser, err := newParser(ctx, spec, c, std)
	if err != nil {
		return nil, err
	}
	command, err := parser.Parse(args)
	if misspelt := checkVariables(parser.Model, os.Environ()); misspelt != nil {
		err = misspelt
	}
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("%s (see: %s --help)", withoutValue(err.Error()), at(err))}
	}
	return command, nil
}

// newParser makes the command line's.
func newParser(ctx context.Context, spec contract, c *cli, std Streams) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("recapito"), kong.Description(description),
		kong.DefaultEnvars(strings.TrimSuffix(variablePrefix, "_")),
		kong.Writers(std.Out, std.Err), kong.Exit(func(int) { panic(helpShown) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Vars{"version": "recapito " + builtFrom()},
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std, spec),
	)
}

// at is the command that a parse error is about.
func at(err error) string {
	if parse, ok := errors.AsType[*kong.ParseError](err); ok && parse.Context.Selected() != nil {
		return parse.Context.Selected().FullPath()
	}
	return "recapito"
}

// withoutValue takes the value of an environment variable out of a parse
// error: kong shows it, and it may be a secret.
func withoutValue(text string) string {
	before, variable, found := strings.Cut(text, " (from envar ")
	if !found {
		return text
	}
	name, _, _ := strings.Cut(variable, "=")
	return before + " (from " + name + ")"
}

// oneLine keeps an error to one line, whatever it was made of.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}
