package prometheus

import (
	"database/sql"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // damages a store

	"github.com/recapito/recapito/verify/rig"
)

// breakages are the ways; each alert has one at least. The first takes two minutes, for a
// sweep comes once a minute.
var breakages = append([]breakage{
	{
		name: "removing old deliveries fails", alert: "RecapitoRetentionStuck", settings: []string{"RECAPITO_RETENTION=1s"},
		ready: func(s *site) {
			s.trigger("CREATE TRIGGER stuck BEFORE DELETE ON deliveries BEGIN SELECT RAISE(ABORT, 'stuck'); END")
		},
		spoil: func(s *site, w *watcher) {
			s.must(rig.Await(2*time.Minute, "a sweep to fail", func() bool { return strings.Contains(s.log(), "removing old deliveries failed") }))
			w.frozen = time.Until(w.now)
		},
		mend: func(s *site, w *watcher) {
			s.trigger("DROP TRIGGER stuck")
			w.frozen = 0
		},
	},
	{name: "the process is gone", alert: "RecapitoDown", spoil: func(s *site, _ *watcher) { s.stop() }},
	{
		name: "the file system stops writing", alert: "RecapitoStoreFailing",
		prepare: func(s *site) { s.volume() },
		spoil:   func(s *site, _ *watcher) { s.run("mount", "-o", "remount,abort", s.dir+"/lib") },
		mend: func(s *site, _ *watcher) {
			s.stop() // as the runbook says: else the file system is in use
			s.run("umount", s.dir+"/lib")
			s.run("mount", "-o", "loop", s.dir+"/image", s.dir+"/lib")
		},
	},
	{
		name: "the disk fills", alert: "RecapitoDiskNearlyFull",
		prepare: func(s *site) { s.volume() },
		spoil: func(s *site, _ *watcher) {
			s.run("fallocate", "-l", "1200M", s.dir+"/lib/recapito.db.before-20261120T100000Z")
		},
	},
	{
		name: "the disk changes a payload", alert: "RecapitoStoreDamaged",
		ready: func(s *site) {
			s.feed(platformKey, 1, account)
			s.run(s.dir+"/bin/recapito-admin", "backup", s.dir+"/backup/recapito.db")
		},
		spoil: func(s *site, _ *watcher) { s.damage() },
	},
	{
		name: "more is due than there are slots for", alert: "RecapitoLate", settings: []string{"RECAPITO_MAX_IN_FLIGHT=1"},
		well: func(s *site, w *watcher) { // with one slot, a busy machine is late by itself
			s.must(rig.Await(time.Minute, "all to be delivered", func() bool { return w.value("recapito_backlog") == 0 }))
		},
		spoil: func(s *site, _ *watcher) { s.sink.slow.Store(true) },
	},
	{
		name: "the platform has another key", alert: "RecapitoPlatformKeyRefused",
		spoil: func(*site, *watcher) {}, each: func(s *site) { s.feed("the-key-of-before", 1, account) },
	},
	{
		name: "the platform names accounts that do not exist", alert: "RecapitoEventsSkipped",
		spoil: func(*site, *watcher) {},
		each:  func(s *site) { s.feed(platformKey, 20, func(i int) string { return fmt.Sprint("acc_unknown_", i) }) },
	},
	{
		name: "few files may be open", alert: "RecapitoFilesNearlyExhausted",
		spoil: func(s *site, _ *watcher) {
			u, err := rig.Measure(s.pid())
			s.must(err)
			s.run("prlimit", "--pid", fmt.Sprint(s.pid()), fmt.Sprintf("--nofile=%d:", u.OpenFiles+3))
		},
	},
	{
		name: "the clock is set", alert: "RecapitoClockWrong",
		prepare: func(s *site) { s.clock = &rig.Clock{} },
		spoil:   func(s *site, _ *watcher) { s.must(s.clock.Set(2 * time.Minute)) },
		mend:    func(s *site, _ *watcher) { s.must(s.clock.Set(0)) },
	},
	{
		name: "a file of the configuration has a fault", alert: "RecapitoReloadFailed",
		spoil: func(s *site, _ *watcher) {
			s.write("etc/platform-key", "")
			s.run(s.dir+"/bin/systemctl", "reload", "recapito")
		},
		mend: func(s *site, _ *watcher) { s.write("etc/platform-key", platformKey+"\n") },
	},
	{
		name: "backups have ended", alert: "RecapitoBackupTooOld",
		ready: func(s *site) { s.run(s.dir+"/bin/recapito-admin", "backup", s.dir+"/backup/old.db") },
		spoil: func(s *site, _ *watcher) {
			s.write("lib/recapito.db-backup", time.Now().Add(-30*time.Hour).UTC().Format(time.RFC3339)+"\n")
		},
	},
	{name: "one endpoint is down, and accounts without a webhook have events", spoil: func(s *site, _ *watcher) {
		for _, name := range []string{"acc_down", "acc_none"} {
			s.call("PUT", "/accounts/"+name, "", platformKey, "")
		}
		s.call("POST", "/webhooks/delivery-status", "acc_down", platformKey, `{"callbackUrl":"https://127.0.0.1:1/down"}`)
	}, each: func(s *site) {
		s.feed(platformKey, 20, func(i int) string { return []string{"acc_down", "acc_none"}[i%2] })
	}},
}, networkBreakages...)

// volume is a file system of 2 GiB for the store.
func (s *site) volume() {
	s.t.Helper()
	image := filepath.Join(s.dir, "image")
	s.run("truncate", "-s", "2G", image)
	s.run("mkfs.ext4", "-q", image)
	s.run("mount", "-o", "loop", image, s.dir+"/lib")
	s.t.Cleanup(func() {
		s.stop()
		s.run("umount", s.dir+"/lib")
	})
}

func (s *site) run(name string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// damage changes the payload of an event that waits, while the service is down.
func (s *site) damage() {
	s.t.Helper()
	s.sink.slow.Store(true)
	s.feed(platformKey, accounts, account)
	s.must(s.signal(9))
	s.stop()
	s.trigger(`UPDATE deliveries SET payload = CAST(replace(CAST(payload AS TEXT), 'SENT', 'sENT') AS BLOB) WHERE seq IN (SELECT max(seq) FROM deliveries); UPDATE waiting SET due_at = 1`)
	s.sink.slow.Store(false)
	s.must(s.start())
}

// trigger changes the store as another program may.
func (s *site) trigger(statement string) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+s.dir+"/lib/recapito.db?_pragma=busy_timeout(10000)")
	s.must(err)
	_, err = db.Exec(statement)
	s.must(errors.Join(err, db.Close()))
}
