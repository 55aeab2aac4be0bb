package postgres

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// peerTimeout is for how long the server's machine may acknowledge nothing: it may be gone
// without a word, and the next one serves.
const peerTimeout = 10 * time.Second

// watched ends connections whose peer is gone. A server that only computes, or waits, keeps them:
// its machine acknowledges.
func watched(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if tcp, ok := conn.(*net.TCPConn); ok {
			// Where the system knows no such limit, the time of the statement bounds it.
			_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: peerTimeout / 2, Interval: peerTimeout / 2, Count: 1})
			_ = limitUnacknowledged(tcp, peerTimeout)
		}
		return conn, err
	}
}
