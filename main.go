// Recapito is the delivery-status webhook service of a messaging platform. It
// takes in the status events of many accounts' messages and POSTs each event to
// the callback URL that its account registered.
package main

import (
	"context"
	_ "embed"
	"os"
	"os/signal"
	"syscall"

	"github.com/recapito/recapito/command"
)

// contract is the document that the validator and the docs page read.
//
//go:embed openapi.yaml
var contract []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	code := command.Run(ctx, contract, os.Args[1:], command.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
