package command

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/recapito/recapito/command/doctor"
	"github.com/recapito/recapito/command/service"
	"github.com/recapito/recapito/store/open"
	"github.com/recapito/recapito/store/postgres"
	"github.com/recapito/recapito/store/sqlite"
)

// doctorCmd has the flags of serve.
type doctorCmd struct {
	serveCmd
	Lookup string `default:"example.com" placeholder:"NAME" help:"Host name to look up. Default: ${default}."`
	JSON   bool   `name:"json" help:"Print JSON, one object a line."`
}

// Help is shown by doctor --help.
func (doctorCmd) Help() string {
	return `Looks at the configuration, the files' permissions, the limit of open files, the clock,
the disk and its fsync, the authorities, names, the way out, and the store. A file it reads
as a whole: the larger it is the longer that takes. Of PostgreSQL it asks the version, the
durability, the connections and the schema. Says what to do about each finding.
Give it the flags, variables and --env-file of serve, and run it as the service's user,
beside a running server or without. Ends with exit code 1 if something does not work.`
}

// Run tells everything that it looked at.
func (c *doctorCmd) Run(ctx context.Context, std Streams, conf *configuration) error {
	var findings []doctor.Finding
	live, _ := c.live() // what is wrong with it is among the mistakes
	for _, err := range c.mistakes() {
		findings = append(findings, doctor.Finding{Check: "configuration", State: doctor.Error, Found: oneLine(err), Do: "mend it; recapito config check looks again"})
	}
	patient := c.patient(live, conf)
	patient.Name = c.Lookup
	findings = append(findings, doctor.All(ctx, patient, time.Now())...)
	count := map[string]int{}
	for _, f := range findings {
		count[f.State]++
		if err := c.print(std.Out, f); err != nil {
			return err
		}
	}
	if errors, warnings := count[doctor.Error], count[doctor.Warning]; errors > 0 {
		return fmt.Errorf("errors: %d, warnings: %d: see above", errors, warnings)
	}
	return nil
}

func (c *doctorCmd) print(out io.Writer, f doctor.Finding) error {
	if c.JSON {
		return json.NewEncoder(out).Encode(f)
	}
	_, err := fmt.Fprintf(out, "%-8s %-14s %s\n", f.State, f.Check, f.Found)
	if err == nil && f.Do != "" {
		_, err = fmt.Fprintf(out, "%-23s to do: %s\n", "", f.Do)
	}
	return err
}

// patient is what a doctor looks at.
func (c *serveCmd) patient(live service.Live, conf *configuration) doctor.Config {
	cfg := doctor.Config{Certificate: live.Certificate, Authorities: live.Authorities, MaxInFlight: c.MaxInFlight, Ops: c.OpsListen, Added: certificatesIn(c.CallbackCA)}
	for _, file := range []string{c.SecretKeyFile, c.PlatformKeyFile, c.TLSKey, conf.envFile} {
		if file != "" {
			cfg.Secrets = append(cfg.Secrets, file)
		}
	}
	if file, err := c.file(); err == nil { // the store is one
		cfg.Database = file
		if _, err := os.Stat(file); err == nil {
			cfg.Integrity = func(ctx context.Context) (string, error) { return inspected(ctx, file, live.SecretKeys) }
		}
	} else if url := string(c.Store); open.Lasts(url) { // it is a server's
		cfg.Server = func(ctx context.Context) (doctor.Database, error) { return asked(ctx, url) }
	}
	return cfg
}

func asked(ctx context.Context, url string) (doctor.Database, error) {
	i, err := postgres.Inspect(ctx, url)
	return doctor.Database{
		Found:   fmt.Sprintf("%s: version %s, fsync is on, synchronous_commit is %s", i.Name, i.Version, i.Durable),
		Standby: i.Standby != "", Schema: i.Schema, Known: i.Known, Free: i.Free, Needed: i.Needed,
	}, err
}

func inspected(ctx context.Context, file string, keys [][]byte) (string, error) {
	c, err := sqlite.Inspect(ctx, file, keys)
	if err == nil && c.Damaged > 0 {
		err = fmt.Errorf("the payloads of %d deliveries are damaged: they cannot be sent", c.Damaged)
	}
	return holds(c), err
}

// certificatesIn reads those of a file in PEM form.
func certificatesIn(file string) (all []*x509.Certificate) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil // a mistake that is told elsewhere
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
	return all
}

// warn logs what a doctor finds in no time.
func warn(log *slog.Logger, patient doctor.Config, now time.Time) {
	for _, f := range doctor.Start(patient, now) {
		if f.State != doctor.OK {
			log.Warn(f.Found, "check", f.Check, "do", f.Do)
		}
	}
}
