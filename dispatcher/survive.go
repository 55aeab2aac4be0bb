package dispatcher

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// survive, deferred, makes an error of a panic: what one account's data does is
// felt by no other. The operator gets the stack, the account nothing of it.
func survive(log *slog.Logger, what, account string, err *error) {
	cause := recover()
	if cause == nil {
		return
	}
	log.Error(what+" panicked", "account", account, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	*err = fmt.Errorf("%s panicked: %v", what, cause)
}
