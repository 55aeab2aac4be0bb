//go:build contract

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// scenario is what each client prints when it walks through the life of a
// webhook, and what the platform does. It uses every operation of the document.
const scenario = `register: 201 ACTIVE true
read: 200 ACTIVE true
conflict: 409 Conflict
replace: 200 true
bad URL: 400 /callbackUrl
rotate: 200 true
test: 200 ACKNOWLEDGED TEST 204
list: 200 1 evt_1 DELIVERED
delivery: 200 READ 204
attempts: 200 evt_1 204
events: 200 1 evt_1 READ true
sources: 200 false 0
health: 200 HEALTHY 0
changes: 200 0
minutes: 200 true
probe: 409 Conflict
send again: 202 evt_1 PENDING
replay: 202 DONE 1 1 0
replays: 200 true DONE
accounts: 200 acc HEALTHY 0
replay of several: 202 DONE 1
replays of several: 200 true DONE
account: 201 200 acc_new
keys: 201 200 true
console: 201 true
hand in: 202 1 0
revoke: 204 401
erase: 204
status: 200 true
platform: 201 ACTIVE true
platform's own: 200 200 true
delete: 204 404 Not Found
told: 200 WEBHOOK_REMOVED acc 204
wrong key: 401 A valid API key is required.
`

// prepared is a client in one language, generated and checked: how to run its
// scenario.
type prepared struct {
	dir  string
	name string
	args []string
}

// TestClientScenario generates a client in each language from openapi.yaml as it
// stands, checks its types, and walks with it through the same scenario:
// against the built binary, and once more through Prism.
func TestClientScenario(t *testing.T) {
	bin := build(t, false)
	for language, prepare := range map[string]func(*testing.T) prepared{
		"go": goClient, "typescript": typescriptClient, "python": pythonClient, "java": javaClient,
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			c := prepare(t)
			ca := newAuthority(t)
			to := newSink(t, ca)
			svc := serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file)
			key := delivered(t, svc, to)
			proxy := prism(t, svc)
			for _, url := range []string{svc.url, proxy.url} {
				before := allRequests(t, svc)
				env := []string{"RECAPITO_URL=" + url, "RECAPITO_API_KEY=" + key, "RECAPITO_PLATFORM_KEY=" + strings.TrimPrefix(bearer, "Bearer "), "RECAPITO_CALLBACK=" + to.url("acc")}
				if got := run(t, c.dir, env, c.name, c.args...); got != scenario {
					t.Errorf("got:\n%swant:\n%s", got, scenario)
				}
				if missing := unreached(before, allRequests(t, svc)); len(missing) > 0 {
					t.Errorf("the program does not use %q, want every operation", missing)
				}
			}
			proxy.wantNoViolation()
		})
	}
}

// allRequests is how many requests the service itself counted, of each operation of the
// document. It counts one from its first request on.
func allRequests(t *testing.T, svc *service) map[string]int {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, text := get(t, svc.ops+"/metrics")
	counts := map[string]int{}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			counts[op.OperationID] = 0
			_, rest, found := strings.Cut(text, fmt.Sprintf("recapito_http_request_duration_seconds_count{operation=%q} ", op.OperationID))
			if !found {
				continue
			}
			n, _, _ := strings.Cut(rest, "\n")
			if counts[op.OperationID], err = strconv.Atoi(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	return counts
}

// delivered makes an account that has no webhook any more, but a delivery, and
// returns its API key.
func delivered(t *testing.T, svc *service, to *sink) (key string) {
	t.Helper()
	key = svc.account("acc")
	svc.register(to, "acc", key)
	if code, answer := svc.api("POST", "/events", bearer, batch([]string{event("acc", "evt_1", "m", "READ")})); code != 202 {
		t.Fatalf("POST /events: %d %s", code, answer)
	}
	eventually(t, "the delivery to be recorded", func() bool {
		return metric(t, svc, `recapito_deliveries{state="DELIVERED"}`) == 1
	})
	if code, answer := svc.api("DELETE", hook, key, ""); code != 204 {
		t.Fatalf("DELETE %s: %d %s", hook, code, answer)
	}
	return key
}

// generator is how gen/generate.go runs the generator of the Go client.
var generator = regexp.MustCompile(`(?m)^//go:generate go (run \S+oapi-codegen\S+ -config client\.cfg\.yaml -o) `)

// The Go client is built as it is generated now, in the place of what is
// committed.
func goClient(t *testing.T) prepared {
	dir := scratch(t, "go")
	text, err := os.ReadFile("gen/generate.go")
	if err != nil {
		t.Fatal(err)
	}
	command := generator.FindSubmatch(text)
	if command == nil {
		t.Fatalf("gen/generate.go does not generate the client as %v", generator)
	}
	made, out := filepath.Join(dir, "client.gen.go"), filepath.Join(dir, "scenario")
	run(t, "gen", nil, "go", append(strings.Fields(string(command[1])), made, "../openapi.yaml")...)
	overlay := filepath.Join(dir, "overlay.json")
	replaced := map[string]any{"Replace": map[string]string{absolute(t, "gen/client/client.gen.go"): made}}
	if err := os.WriteFile(overlay, []byte(jsonText(t, replaced)), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, ".", nil, "go", "build", "-overlay", overlay, "-o", out, "./verify/contract/clients/go")
	return prepared{".", out, nil}
}

func typescriptClient(t *testing.T) prepared {
	dir := copied(t, "typescript", "verify/contract/clients/typescript")
	run(t, dir, nil, tools+"/node_modules/.bin/openapi-typescript", absolute(t, "openapi.yaml"), "--output", "schema.d.ts")
	run(t, dir, nil, tools+"/node_modules/.bin/tsc", "--project", ".")
	return prepared{dir, "node", []string{"out/scenario.js"}}
}

func pythonClient(t *testing.T) prepared {
	dir := copied(t, "python", "verify/contract/clients/python")
	bin := absolute(t, tools+"/venv/bin")
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH")} // the generator formats with ruff
	run(t, dir, env, bin+"/openapi-python-client", "generate", "--path", absolute(t, "openapi.yaml"),
		"--output-path", "recapito_client", "--meta", "none", "--fail-on-warning")
	run(t, dir, nil, bin+"/mypy", "scenario.py", "recapito_client")
	return prepared{dir, bin + "/python", []string{"scenario.py"}}
}

func javaClient(t *testing.T) prepared {
	dir := scratch(t, "java")
	run(t, ".", nil, "mvn", "--batch-mode", "--quiet", "--file", "verify/contract/clients/java/pom.xml", "compile", "-Dscratch="+dir)
	run(t, dir+"/go", nil, "go", "build", "./...") // the same generator's Go client
	classpath, err := os.ReadFile(dir + "/classpath")
	if err != nil {
		t.Fatal(err)
	}
	return prepared{dir, "java", []string{"-cp", dir + "/classes:" + string(classpath), "Scenario"}}
}
