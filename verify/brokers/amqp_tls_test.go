package brokers

import (
	"net"
	"slices"
	"testing"
)

// TestRabbitMQOverTLS: what does not fit the broker's certificate, its demand for one, or
// its password is refused, and /readyz and the log say why. What fits feeds, by password
// and by the certificate alone, also where an earlier host of the list does not answer.
// When the broker gets the right certificate, feed goes on by itself.
func TestRabbitMQOverTLS(t *testing.T) {
	w, ca, other := newWorld(t), newAuthority(t), newAuthority(t)
	ca.pair("guest")
	s := newRabbitWith(t, ca)
	queues := s.queues(t, "status", nil)
	flags := func(root *authority, more ...[]string) []string {
		return slices.Concat(append(more, []string{"--from", "amqps://" + deaf(t) + "," + s.secure + "/status", "--dead-letter", queues.dead, "--log-level", "debug", "--broker-ca", root.file("ca.pem")})...)
	}
	bodies, keys := traffic()
	own, login := ca.flags("guest"), w.login("guest", "guest")

	early := w.refused("x509: certificate signed by unknown authority", flags(other, own, login)...)
	w.refused("--broker-cert", flags(ca, login)...).kill()
	w.refused("username or password not allowed", flags(ca, own, w.login("guest", newPassword))...).kill()
	w.feeds(10, func() { queues.publish(t, bodies[:10], keys) }, flags(ca, own, login)...)
	w.feeds(20, func() { queues.publish(t, bodies[10:20], keys[10:]) }, flags(ca, own)...)

	queues.publish(t, bodies[20:30], keys[20:])
	other.pair("guest")
	s.certify(other)
	s.restart()
	w.await(30)
	early.awaitReady(t)
}

// deaf is an address of another name, where connections are closed at once.
func deaf(t *testing.T) string {
	t.Helper()
	l := must(net.Listen("tcp4", "127.0.0.1:0"))
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "localhost:" + port
}
