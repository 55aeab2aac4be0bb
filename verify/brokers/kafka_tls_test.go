package brokers

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/recapito/recapito/verify/rig"
)

// kafkaSecure is the configuration of two listeners with TLS: one that demands a
// certificate, one that demands a password. PEM files, user and password.
const kafkaSecure = `listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,CERTIFICATE:SSL,PASSWORD:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location=%[1]s
ssl.truststore.type=PEM
ssl.truststore.location=%[2]s
listener.name.certificate.ssl.client.auth=required
listener.name.password.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.password.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_feeder="%[3]s";
listener.name.password.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.password.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
`

// TestKafkaOverTLS: what does not fit the broker's certificate, its demand for one, or its
// password is refused, and /readyz and the log say why. What fits feeds, by certificate and
// by password in each of the three ways. When the password is set right, feed goes on by
// itself.
func TestKafkaOverTLS(t *testing.T) {
	w, ca, other := newWorld(t), newAuthority(t), newAuthority(t)
	ca.pair("feeder")
	store := ca.file("broker.store")
	write(t, store, string(must(os.ReadFile(ca.file("broker.key"))))+string(must(os.ReadFile(ca.file("broker.pem")))))
	byCertificate, byPassword := must(rig.FreeAddr()), must(rig.FreeAddr())
	s := newKafkaWith(t, ",CERTIFICATE://"+byCertificate+",PASSWORD://"+byPassword, fmt.Sprintf(kafkaSecure, store, ca.file("ca.pem"), brokerPassword))
	topics := s.topics(t, "status")
	flags := func(from string, root *authority, more ...[]string) []string {
		return slices.Concat(append(more, []string{"--from", "kafkas://" + from, "--dead-letter", topics.dead, "--log-level", "debug", "--broker-ca", root.file("ca.pem")})...)
	}
	bodies, keys := traffic()
	sent := 0
	ten := func() {
		topics.publish(t, bodies[sent:sent+10], keys[sent:])
		sent += 10
	}
	own, login := ca.flags("feeder"), w.login("feeder", brokerPassword)

	w.refused("x509: certificate signed by unknown authority", flags(byCertificate+"/status", other, own)...).kill()
	w.refused("--broker-cert", flags(byCertificate+"/status", ca)...).kill()
	w.feeds(10, ten, flags(byCertificate+"/status", ca, own)...)

	s.user(t, "feeder", brokerPassword)
	early := w.refused("sasl_authentication_failed", flags(byPassword+"/status", ca, w.login("feeder", newPassword))...)
	for i, how := range []string{"", "?sasl=scram-sha-256", "?sasl=plain"} {
		w.feeds(20+10*i, ten, flags(byPassword+"/status"+how, ca, login)...)
	}
	s.user(t, "feeder", newPassword)
	ten()
	w.await(sent)
	early.awaitReady(t)
}

// user makes a user who proves to know the password by SCRAM, or gives the user this one.
func (s *kafkaServer) user(t *testing.T, name, password string) {
	t.Helper()
	const iterations = 4096
	salt := []byte("salt of the user")
	for mechanism, salted := range map[int8][]byte{
		1: must(pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)),
		2: must(pbkdf2.Key(sha512.New, password, salt, iterations, sha512.Size)),
	} {
		u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = name, mechanism, iterations, salt, salted
		ask := kmsg.NewPtrAlterUserSCRAMCredentialsRequest() // one for each: it may name a user once
		ask.Upsertions = append(ask.Upsertions, u)
		answer, err := ask.RequestWith(t.Context(), s.client)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range answer.Results {
			if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
				t.Fatalf("the user %s: %v", r.User, err)
			}
		}
	}
}
