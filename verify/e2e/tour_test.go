package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// commands are the blocks of shell commands that a document shows.
var commands = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// tourist runs the commands of a part of a document, one block after the other, as
// one who reads it would: each must succeed, a service that is started must be
// ready before the next. replace puts free addresses and a temporary folder in
// place of those that the document names.
type tourist struct {
	dir, hook, api, ops string
	replace             *strings.Replacer
	env                 []string
}

func newTourist(t *testing.T) *tourist {
	t.Helper()
	w := &tourist{dir: t.TempDir(), hook: freeAddr(t), api: freeAddr(t), ops: freeAddr(t)}
	w.replace = strings.NewReplacer("127.0.0.1:8443", w.hook, "127.0.0.1:8080", w.api, "127.0.0.1:9090", w.ops,
		"/etc/recapito", w.dir+"/etc", "/var/lib/recapito", w.dir+"/lib", "make build\n", "")
	bin := filepath.Join(w.dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(build(t, false), filepath.Join(bin, "recapito")); err != nil {
		t.Fatal(err)
	}
	// curl is to fail where the service refuses.
	if err := os.WriteFile(filepath.Join(w.dir, ".curlrc"), []byte("fail\nsilent\nshow-error\nmax-time = 300\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "CURL_HOME="+w.dir,
		"RECAPITO_LISTEN="+w.api, "RECAPITO_OPS_LISTEN="+w.ops, "RECAPITO_RECEIVER="+w.hook, "RECAPITO_SERVER=http://"+w.api, "RECAPITO_RETRY_SCHEDULE=50ms,50ms,1s,1s,1s,1s,1s,1s,1s,1s,1h")
	return w
}

// along runs all of it, then the last commands, and returns what was printed.
func (w *tourist) along(t *testing.T, text, last string) string {
	t.Helper()
	var script strings.Builder
	script.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n")
	for _, block := range commands.FindAllStringSubmatch(text, -1) {
		script.WriteString(w.replace.Replace(block[1]))
		if strings.Contains(block[1], "recapito listen") {
			script.WriteString("until (exec 3<>/dev/tcp/" + strings.Replace(w.hook, ":", "/", 1) + ") 2>/dev/null; do kill -0 $!; sleep 0.05; done\n")
		}
		if strings.Contains(block[1], "recapito serve") {
			script.WriteString("until curl http://" + w.ops + "/readyz >/dev/null 2>&1; do kill -0 $!; sleep 0.05; done\n")
		}
	}
	script.WriteString(last)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-c", script.String())
	shell.Dir, shell.Env, shell.WaitDelay = w.dir, w.env, patience
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts ends with it
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	file, err := os.Create(filepath.Join(w.dir, "printed"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	shell.Stdout, shell.Stderr = file, file
	err = shell.Run()
	printed, readErr := os.ReadFile(file.Name())
	if err != nil || readErr != nil {
		t.Fatalf("%v; the commands:\n%s\nprinted:\n%s", err, script.String(), printed)
	}
	return string(printed)
}

// The tour does what it says, and does it again.
func TestTourCanBeRepeated(t *testing.T) {
	w := newTourist(t)
	if err := os.CopyFS(filepath.Join(w.dir, "command/demo"), os.DirFS("command/demo")); err != nil {
		t.Fatal(err)
	}
	_, tour, _ := strings.Cut(read(t, "README.md"), "## Five-minute tour")
	tour, _, _ = strings.Cut(tour, "\n## ")
	var secret []byte
	for _, time := range []string{"first", "second"} {
		printed := w.along(t, tour, `until [ "$(grep -c '→ 204  verified' printed)" -ge 28 ]; do sleep 0.05; done
kill %1 %2; wait
`)
		for _, want := range []string{"accepted 28, duplicates 0, skipped 0", "→ 500", `"attempts":[`, "received 30,"} {
			if !strings.Contains(printed, want) {
				t.Errorf("the %s time: it printed\n%s\nwant %q in it", time, printed, want)
			}
		}
		webhook, err := os.ReadFile(filepath.Join(w.dir, "webhook.json"))
		if err != nil || !strings.Contains(string(webhook), "whsec_") || secret != nil && string(secret) != string(webhook) {
			t.Errorf("webhook.json after the %s time: %s, %v, want the answer of the first registration", time, webhook, err)
		}
		secret = webhook
	}
}

// What docs/operating.md and then docs/platform.md show works as it stands there, on a
// store with a secret key.
func TestOperatingCommandsWork(t *testing.T) {
	w := newTourist(t)
	w.env = append(w.env, "OLD_KEY=a-key-issued-long-ago")
	text := strings.Replace(read(t, "docs/operating.md")+read(t, "docs/platform.md"), "\nrecapito serve\n", "\nrecapito serve &\n", 1)
	w.along(t, text, `test -n "$KEY"
recapito account show acc_1 | grep -E '^API keys +3$'
curl -H "X-API-Key: $OLD_KEY" -H 'Content-Type: application/json' -d '{"callbackUrl":"https://example.com/in-clear"}' $SERVER/webhooks/delivery-status
if grep -q in-clear ${RECAPITO_STORE#sqlite:}*; then exit 1; fi
test "$(stat -c %a ${RECAPITO_STORE#sqlite:})" = 600
test "$(stat -c %a "`+w.dir+`/etc/secret-key")" = 600
`)
}

// before prepares what docs/troubleshooting.md speaks of: a service, and an account whose
// endpoint has received something.
const before = "```sh\n" + `export RECAPITO_PLATFORM_KEY=a-key-for-this-test RECAPITO_STORE=sqlite:recapito.db
recapito listen --secret-file secret &
` + "```\n\n```sh\n" + `recapito serve --allow-network 127.0.0.0/8 --callback-ca recapito-listen-ca.pem &
` + "```\n\n```sh\n" + `SERVER=$RECAPITO_SERVER CALLBACK_URL=https://$RECAPITO_RECEIVER/status
recapito account create acc_1
export RECAPITO_API_KEY=$(recapito key create acc_1)
recapito webhook set $CALLBACK_URL >secret
recapito send --account-id acc_1 event.ndjson
until recapito deliveries evt_1 | grep '"state":"DELIVERED"'; do sleep 0.05; done
` + "```\n"

// What docs/troubleshooting.md shows works as it stands there.
func TestTroubleshootingCommandsWork(t *testing.T) {
	w := newTourist(t)
	text := event("acc_1", "evt_1", "msg_1", "SENT") + "\n"
	if err := os.WriteFile(filepath.Join(w.dir, "event.ndjson"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	printed := w.along(t, before+read(t, "docs/troubleshooting.md"), "")
	for _, want := range []string{`"state":"HEALTHY"`, `"verdict":"ACKNOWLEDGED"`, `"messageId":"msg_1"`, `"signingSecret":"whsec_`, `"stated":false`, "ready", "recapito_oldest_due_seconds{health=\"healthy\"} 0"} {
		if !strings.Contains(printed, want) {
			t.Errorf("it printed\n%s\nwant %q in it", printed, want)
		}
	}
}
