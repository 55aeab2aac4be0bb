package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"

	"github.com/recapito/recapito/gen/client"
)

// answered makes an error of an unexpected answer.
func answered(r *http.Response, body []byte) error {
	var problem client.Problem
	if json.Unmarshal(body, &problem) == nil && orEmpty(problem.Detail) != "" {
		return fmt.Errorf("the server answered %s: %s", r.Status, *problem.Detail)
	}
	return fmt.Errorf("the server answered %s", r.Status)
}

// orEmpty is the text, or the empty one.
func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// orNone is the list, or an empty one.
func orNone[T any](list *[]T) []T {
	if list == nil {
		return nil
	}
	return *list
}

// plainly is the reason why a request had no answer, without the words that
// Go's client adds.
func plainly(err error) error {
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
