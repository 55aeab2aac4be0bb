package broker

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddresses(t *testing.T) {
	tests := []struct {
		text   string
		secure bool
		hosts  []string
		path   string
	}{
		{"nats://broker/STATUS", false, []string{"broker:4222"}, "STATUS"},
		{"natss://broker:4000/STATUS?subject=status.%3E", true, []string{"broker:4000"}, "STATUS"},
		{"kafka://a:9092,b/status.events", false, []string{"a:9092", "b:9092"}, "status.events"},
		{"kafkas://[2001:db8::1],a/t?group=g&sasl=plain", true, []string{"[2001:db8::1]:9093", "a:9093"}, "t"},
		{"amqp://a/q?vhost=%2F", false, []string{"a:5672"}, "q"},
		{"amqps://a/with%2Fslash", true, []string{"a:5671"}, "with/slash"},
	}
	for _, test := range tests {
		a, err := ParseAddress(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
		}
		if diff := cmp.Diff(test.hosts, a.Hosts); diff != "" || a.Secure != test.secure || a.Path != test.path {
			t.Errorf("%s: got %+v, want %+v", test.text, a, test)
		}
	}
	a, err := ParseAddress("nats://a/S?consumer=other")
	if got := []string{a.Param("consumer", "recapito"), a.Param("subject", "any")}; err != nil || !cmp.Equal(got, []string{"other", "any"}) {
		t.Errorf("parameters: got %q, %v, want other and any", got, err)
	}
}

func TestAddressesRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "must begin with kafka://",
		"redis://a/b":             "must begin with kafka://",
		"nats":                    "must begin with kafka://",
		"nats://a":                "must name the stream: nats://a/STREAM",
		"kafka://a,b/":            "must name the topic: kafka://a,b/TOPIC",
		"amqp://a/v/q":            "must name the queue",
		"nats://u:canary@a/S":     "must have no user and no password: give them with --broker-user",
		"nats:///S":               `is not HOST or HOST:PORT`,
		"nats://a/S?group=g":      `the parameter "group": each of consumer, subject may stand once`,
		"kafka://a/t?group=":      `the parameter "group"`,
		"kafka://a/t?sasl=a;b":    "the parameters cannot be read",
		"kafka://a/t?sasl=a&sasl": `the parameter "sasl"`,
	} {
		_, err := ParseAddress(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
