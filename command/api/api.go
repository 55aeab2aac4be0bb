// Package api calls a running server for a command: the generated client with a key,
// and its failures in one line for people.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"

	"github.com/recapito/recapito/gen/client"
)

// Platform authenticates the platform.
func Platform(key string) client.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+key)
		return nil
	}
}

// Account authenticates an account.
func Account(key string) client.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("X-API-Key", key)
		return nil
	}
}

// Answered makes an error of an unexpected answer.
func Answered(r *http.Response, body []byte) error {
	var problem client.Problem
	if json.Unmarshal(body, &problem) == nil && OrEmpty(problem.Detail) != "" {
		return fmt.Errorf("the server answered %s: %s", r.Status, *problem.Detail)
	}
	return fmt.Errorf("the server answered %s", r.Status)
}

// OrEmpty is the text, or the empty one.
func OrEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// OrNone is the list, or an empty one.
func OrNone[T any](list *[]T) []T {
	if list == nil {
		return nil
	}
	return *list
}

// Plainly is the reason why a request had no answer, without the words that
// Go's client adds.
func Plainly(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("there is no address for %s", name.Name)
	}
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return err
	}
	if call, ok := errors.AsType[*os.SyscallError](op.Err); ok {
		op.Err = call.Err
	}
	if op.Addr == nil {
		return op.Err
	}
	return fmt.Errorf("%s: %w", op.Addr, op.Err)
}
