//go:build contract

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// The tests behind the build tag contract hold the built binary against
// openapi.yaml with tools that others made (verify/contract/README.md). They need what
// verify/contract/tools.sh installs.

// tools is where verify/contract/tools.sh installs.
const tools = ".cache/contract"

// command is a tool, to be run in a folder, with more environment.
func command(t *testing.T, dir string, env []string, name string, args ...string) *exec.Cmd {
	t.Helper()
	if strings.HasPrefix(name, tools) {
		path, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v: run verify/contract/tools.sh", err)
		}
		name = path
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	return cmd
}

// startBeside runs a program until the test ends, and shows what it said if that has failed.
func startBeside(t *testing.T, name string, cmd *exec.Cmd) (said *lockedBuffer) {
	t.Helper()
	said = &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said)
		}
	})
	return said
}

// run runs a tool to its end and returns what it printed; it fails the test if
// the tool fails.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := command(t, dir, env, name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// scratch is an empty folder beside the tools, where Node finds its packages.
func scratch(t *testing.T, name string) string {
	t.Helper()
	dir := absolute(t, filepath.Join(tools, name))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copied is such a folder with a copy of what the other holds.
func copied(t *testing.T, name, from string) string {
	t.Helper()
	dir := scratch(t, name)
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Redocly: the document is valid, and nothing about it is doubtful, in either
// language.
func TestContractRedocly(t *testing.T) {
	env := []string{"REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true"}
	run(t, ".", env, tools+"/node_modules/.bin/redocly", "lint", "--extends", "recommended-strict", "openapi.yaml", "gen/openapi.it.yaml")
}

const oasdiff = "github.com/oasdiff/oasdiff@v1.36.0"

// oasdiff: a change that breaks clients of the document that was last released
// is one that the changelog names, in oasdiff's words.
func TestContractBreaksNoClient(t *testing.T) {
	t.Log(run(t, ".", nil, "go", "run", oasdiff, "breaking", "--flatten-allof", "--format", "singleline", "--fail-on", "WARN",
		"--err-ignore", "CHANGELOG.md", "--warn-ignore", "CHANGELOG.md", "verify/contract/released/openapi.yaml", "openapi.yaml"))
}

// tags are the operations of an account, and of the platform.
var tags = map[string][]string{"account": {"Webhooks", "Deliveries"}, "platform": {"Events", "Accounts", "Operations"}}

// Schemathesis: no 5xx, no status, header or body that the document lacks, no
// bad request let through, no good one refused, no way past authentication; in
// at least CONTRACT_CASES requests of each operation.
func TestContractSchemathesis(t *testing.T) {
	cases, err := strconv.Atoi(cmp.Or(os.Getenv("CONTRACT_CASES"), "1000"))
	if err != nil {
		t.Fatalf("CONTRACT_CASES: %v", err)
	}
	bin := build(t, false)
	for name, tags := range tags {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // two processes, as it is the tool that is slow
			svc, keys := seeded(t, bin)
			env := []string{
				"RECAPITO_URL=" + svc.url, "RECAPITO_PLATFORM_KEY=" + platformKey, "RECAPITO_KEYS={}",
				"RECAPITO_ACCOUNTS=acc_a acc_b", "RECAPITO_AUTH=" + authFile(t, keys),
			}
			if name == "account" {
				env = append(env, "RECAPITO_KEYS="+jsonText(t, keys))
			}
			dir := copied(t, "schemathesis-"+name, "verify/contract/schemathesis")
			schemathesis := func(phases string, cases int) {
				t.Helper()
				args := []string{
					"--config-file", name + ".toml", "run", absolute(t, "openapi.yaml"), "--url", svc.url,
					"--checks", "all", "--mode", "all", "--phases", phases, "--max-examples", strconv.Itoa(cases),
					"--continue-on-failure", "--no-color", "--generation-database", "none",
				}
				for _, tag := range tags {
					args = append(args, "--include-tag", tag)
				}
				t.Log(run(t, dir, env, tools+"/venv/bin/schemathesis", args...))
			}
			schemathesis("examples,coverage,fuzzing", cases)
			before := requests(t, svc, name == "account")
			var after map[string]int
			// Each case is a walk of several requests. Hypothesis ends a run when a
			// walk that it repeats is answered otherwise, as that of another webhook
			// may be; so there are several runs.
			for range 10 {
				schemathesis("stateful", max(100, cases/10))
				after = requests(t, svc, name == "account")
				if len(unreached(before, after)) == 0 {
					break
				}
			}
			if missing := unreached(before, after); len(missing) > 0 {
				t.Errorf("no walk reaches %q, want links that lead to every operation", missing)
			}
			for line := range strings.Lines(svc.log.String()) {
				if !strings.Contains(line, `msg="breaker opened"`) { // there is no endpoint
					t.Errorf("the service logged, want nothing but that breakers open: %s", line)
				}
			}
			t.Log(answers(t, svc))
			own := ownCalls(t, dir)
			for id, n := range after {
				if n -= own[id]; n < cases {
					t.Errorf("%s: got %d requests, want at least %d", id, n, cases)
				}
			}
		})
	}
}

// seeded is a service with two accounts that have a webhook and deliveries, and
// their API keys.
func seeded(t *testing.T, bin string) (svc *service, keys map[string]string) {
	t.Helper()
	ca := newAuthority(t)
	to := newSink(t, ca)
	svc = serve(t, bin, filepath.Join(t.TempDir(), "recapito.db"), "--callback-ca", ca.file)
	keys = map[string]string{}
	for _, id := range []string{"acc_a", "acc_b"} {
		keys[id] = svc.account(id)
		svc.register(to, id, keys[id])
		var events []string
		for i := range 60 {
			events = append(events, event(id, fmt.Sprintf("evt_%s_%d", id, i), fmt.Sprint("m-", i), "SENT"))
		}
		if code, answer := svc.api("POST", "/events", bearer, batch(events)); code != 202 {
			t.Fatalf("POST /events: %d %s", code, answer)
		}
	}
	eventually(t, "the seed to be delivered", func() bool { return to.count("") == 120 })
	return svc, keys
}

// authFile writes the accounts as Web Fuzzing Commons users.
func authFile(t *testing.T, keys map[string]string) string {
	t.Helper()
	type header struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	type user struct {
		Name         string   `json:"name"`
		FixedHeaders []header `json:"fixedHeaders"`
	}
	var users []user
	for id, key := range keys {
		users = append(users, user{id, []header{{"X-API-Key", key}}})
	}
	file := filepath.Join(t.TempDir(), "auth.yaml")
	if err := os.WriteFile(file, []byte(jsonText(t, map[string]any{"auth": users})), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ownCalls is how many requests of each operation hooks.py made by itself, to
// bring about a state.
func ownCalls(t *testing.T, dir string) map[string]int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "own-calls.*.json"))
	if err != nil || len(files) < 2 {
		t.Fatalf("counts of hooks.py: %q, %v; want one of each run, two at least", files, err)
	}
	all := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		if err := json.Unmarshal(text, &counts); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for id, n := range counts {
			all[id] += n
		}
	}
	return all
}

// requests is how many the service itself counted, of each operation of an
// account or else of the platform.
func requests(t *testing.T, svc *service, account bool) map[string]int {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			if _, ok := (*op.Security)[0]["AccountKey"]; ok == account {
				counts[op.OperationID] = int(metric(t, svc, fmt.Sprintf("recapito_http_request_duration_seconds_count{operation=%q}", op.OperationID)))
			}
		}
	}
	return counts
}

// unreached are the operations whose counts are the same.
func unreached(before, after map[string]int) (ids []string) {
	for id, n := range after {
		if n == before[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// answers lists how often the service gave which status.
func answers(t *testing.T, svc *service) string {
	t.Helper()
	_, text := get(t, svc.ops+"/metrics")
	return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return !strings.HasPrefix(line, "recapito_http_requests_total")
	}), "\n")
}
