package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// localProgram is what a developer writes: it prints the id of each callback that is
// genuine.
func localProgram(at string) {
	err := http.ListenAndServe(at, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret, err := os.ReadFile(filepath.Join(os.Getenv("HOME"), ".config/recapito/forward-secret"))
		if err != nil {
			panic(err)
		}
		verifier, err := standardwebhooks.NewWebhook(strings.TrimSpace(string(secret)))
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || verifier.Verify(body, r.Header) != nil {
			http.Error(w, "not genuine", http.StatusUnauthorized)
			return
		}
		fmt.Println("genuine", r.Header.Get("webhook-id"))
		w.WriteHeader(http.StatusNoContent)
	}))
	panic(err)
}

// separate runs a script of the server in a network namespace, with $DEVELOPER before a
// command that is to run in another one. Their loopbacks are not each other's.
const separate = `
ip link set lo up
unshare --net sh -c 'echo $$ >developer.pid; exec sleep 3600' &
until [ -s developer.pid ]; do sleep 0.01; done
other=$(cat developer.pid)
ip link add server type veth peer name developer netns $other
ip address add 10.9.0.1/30 dev server
ip link set server up
nsenter --target $other --net sh -c 'ip link set lo up; ip address add 10.9.0.2/30 dev developer; ip link set developer up'
DEVELOPER="nsenter --target $other --net"
SERVER_ADDRESS=10.9.0.1
`

// together is for a machine that allows no namespaces.
const together = `
DEVELOPER=
SERVER_ADDRESS=127.0.0.2
`

// fromNothing is what the platform does, and what a developer does by the README, who
// can become nobody else.
const fromNothing = `
export RECAPITO_STORE=sqlite:recapito.db RECAPITO_PLATFORM_KEY=a-platform-key-of-this-test
mkdir home; touch server.log developer.log
recapito serve --listen $SERVER_ADDRESS:8080 --ops-listen $SERVER_ADDRESS:9090 >server.log 2>&1 &
until grep -q 'recapito is ready' server.log; do kill -0 $!; sleep 0.01; done
recapito account create acc_1
KEY=$(recapito key create acc_1)

BEGAN=$(date +%s%N)
$DEVELOPER setpriv --no-new-privs --bounding-set=-all --inh-caps=-all env -i HOME=$PWD/home PATH=$PATH \
  SERVER=http://$SERVER_ADDRESS:8080 KEY=$KEY bash -eu developer.sh >developer.log 2>&1 &
until grep -q 'are shown as they come' developer.log; do kill -0 $!; sleep 0.01; done
if [ -n "$DEVELOPER" ] && (exec 3<>/dev/tcp/10.9.0.2/3000) 2>/dev/null; then echo "the server has a way to the program"; exit 1; fi
recapito send --server http://$SERVER_ADDRESS:8080 --account-id acc_1 event.ndjson
until grep -q 'genuine evt_1' program.log; do kill -0 $!; sleep 0.01; done
echo "from nothing in $((($(date +%s%N) - BEGAN) / 1000000)) ms"
`

// programListens waits for the program: tail forwards an event once, whoever is there.
const programListens = "until (exec 3<>/dev/tcp/127.0.0.1/3000) 2>/dev/null; do kill -0 $!; sleep 0.01; done\n"

// TestFromNothingToOnesOwnProgram does what the README says, on a hosted server that has
// no way to the developer: no tunnel, authority or root, in less than two minutes.
func TestFromNothingToOnesOwnProgram(t *testing.T) {
	dir := t.TempDir()
	_, section, _ := strings.Cut(read(t, "README.md"), "## Your own program on a hosted server")
	shown := commands.FindStringSubmatch(section)
	if shown == nil {
		t.Fatal("README.md shows no commands")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"developer.sh": "LOCAL_PROGRAM=127.0.0.1:3000 " + self + " >program.log &\n" + programListens + shown[1],
		"event.ndjson": event("acc_1", "evt_1", "m", "SENT") + "\n",
		"program.log":  "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := build(t, false)
	run := func(setting string, wrap ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		script := "set -euo pipefail\ntrap 'cat *.log; kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n" + setting + fromNothing
		args := append(wrap, "bash", "-c", script)
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir, cmd.WaitDelay = dir, patience
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts ends with it
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	namespaces := []string{"unshare", "--net", "--user", "--map-root-user"}
	if os.Getuid() == 0 {
		namespaces = namespaces[:2]
	}
	setting := separate
	if exec.Command(namespaces[0], append(namespaces[1:], "unshare", "--net", "true")...).Run() != nil {
		setting, namespaces = together, nil
		t.Log("this machine allows no network namespaces: the server has another address of the loopback")
	}
	began := time.Now()
	out, err := run(setting, namespaces...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s(%v with the server's start)", out, time.Since(began).Round(time.Millisecond))
	var took int
	if _, err := fmt.Sscanf(out[strings.Index(out, "from nothing in"):], "from nothing in %d ms", &took); err != nil || took >= 120_000 {
		t.Errorf("from nothing to a real event in %d ms, %v, want less than two minutes", took, err)
	}
}
