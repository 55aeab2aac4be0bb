package command

import (
	"fmt"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func modelOf(t *testing.T) *kong.Application {
	t.Helper()
	parser, err := newParser(t.Context(), nil, &cli{}, Streams{})
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model
}

// A variable that several commands read is the same flag in each, and its help
// begins with the same sentence.
func TestAVariableNamesOneThing(t *testing.T) {
	for name, flags := range variables(modelOf(t).Node) {
		for _, f := range flags[1:] {
			first, _, _ := strings.Cut(flags[0].Help, ".")
			if f.Name != flags[0].Name || !strings.HasPrefix(f.Help, first) {
				t.Errorf("%s is --%s (%s) and --%s (%s), want one name for one thing", name, flags[0].Name, flags[0].Help, f.Name, f.Help)
			}
		}
	}
}

func TestMisspeltVariablesAreRefused(t *testing.T) {
	model := modelOf(t)
	tests := []struct{ entry, nearest string }{
		{"RECAPITO_RETENTOIN=1h", "RECAPITO_RETENTION"},
		{"RECAPITO_OPSLISTEN=:1", "RECAPITO_OPS_LISTEN"},
		{"RECAPITO_PLATFORMKEY=x", "RECAPITO_PLATFORM_KEY"},
		{"RECAPITO_SECRETKEY=x", "RECAPITO_SECRET_KEY"},
		{"RECAPITO_CA_OUT=ca.pem", "RECAPITO_CA_FILE"},
		// Ours, empty, another's, Kubernetes'.
		{"RECAPITO_RETENTION=1h", ""},
		{"RECAPITO_DEMO_STORE=memory:", ""},
		{"RECAPITO_RETENTOIN=", ""},
		{"RECAPITOS_RETENTOIN=1h", ""},
		{"RECAPITO=1", ""},
		{"RECAPITO_SERVICE_HOST=10.0.0.11", ""},
		{"RECAPITO_SERVICE_PORT=8080", ""},
		{"RECAPITO_SERVICE_PORT_HTTP=8080", ""},
		{"RECAPITO_PORT=tcp://10.0.0.11:8080", ""},
		{"RECAPITO_PORT_8080_TCP=tcp://10.0.0.11:8080", ""},
		{"RECAPITO_PORT_8080_TCP_PROTO=tcp", ""},
		{"RECAPITO_PORT_8080_TCP_PORT=8080", ""},
		{"RECAPITO_PORT_8080_TCP_ADDR=10.0.0.11", ""},
		{"RECAPITO_OPS_SERVICE_HOST=10.0.0.12", ""},
		{"RECAPITO_OPS_PORT_9090_TCP=tcp://10.0.0.12:9090", ""},
	}
	for _, test := range tests {
		want := "<nil>"
		if test.nearest != "" {
			name, _, _ := strings.Cut(test.entry, "=")
			want = fmt.Sprintf("the variable %s is that of no flag: did you mean %s?", name, test.nearest)
		}
		if got := fmt.Sprint(checkVariables(model, []string{"PATH=/bin", test.entry})); got != want {
			t.Errorf("%s: got %s, want %s", test.entry, got, want)
		}
	}
}
