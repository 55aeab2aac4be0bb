package command

import (
	"log/slog"
	"net"
	"os"
)

// notify tells the process that supervises this one a state of sd_notify(3), such as
// READY=1, if it asked for it with $NOTIFY_SOCKET, as systemd does for Type=notify. A
// state that does not arrive is logged: the service runs on.
func notify(log *slog.Logger, state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		_ = conn.Close() // the state is sent
	}
	if err != nil {
		log.Warn("the supervisor was not told", "state", state, "error", err)
	}
}
