// Command faults runs the built binary through what goes wrong in production
// and holds it to what the README promises.
//
//	go run ./verify/faults               all scenarios, the long form (some hours)
//	go run ./verify/faults --short       all, in minutes: what `make check-all` runs
//	go run ./verify/faults kill power    some of them
//
// It prints a line for each scenario and exits 1 if a promise was broken. The
// short form only notes what was slower or larger than promised. It needs Linux,
// and root for the scenarios with file systems of their own or a stub resolver.
// `make faults` and `make faults-short` install the tools that are missing
// (tools.sh). README.md says what each scenario promises.
package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/alecthomas/kong"

	"github.com/recapito/recapito/verify/rig"
)

// scenario is one kind of fault. run returns what it found, in words, and an
// error if a promise was broken.
type scenario struct {
	name, what string
	run        func(*lab) (string, error)
}

var scenarios = []scenario{
	{"kill", "kill -9 at random moments", kill},
	{"power", "power cuts", power},
	{"disk", "the disk is full for a while", disk},
	{"io", "writes and syncs fail for a while", inputOutput},
	{"files", "no file descriptor is left for a while", files},
	{"crowd", "2,000 connections without a key at a limit of 1,024 files", crowd},
	{"dns", "names do not resolve for a while", dns},
	{"clock", "the clock jumps by an hour, back and forth", clock},
	{"hostile", "60 hostile receivers beside 2,000 healthy ones", hostile},
	{"crash", "power cuts and failing disks beneath SQLite, anywhere", crash},
	{"cluster", "several nodes on one PostgreSQL, each killed, stopped, cut off, restarted", runCluster},
	{"soak", "an hour at half load", soak},
}

type flags struct {
	Scenarios []string      `arg:"" optional:"" enum:"${enum}" help:"Which: ${names}. Default: all."`
	Rounds    int           `help:"Rounds of those that are repeated. Default: as many as the form asks for."`
	Short     bool          `help:"The short form, in minutes."`
	CI        bool          `env:"CI" help:"Fail if a scenario cannot be had on this machine, in the short form too."`
	Minutes   float64       `default:"60" help:"How long the soak is in the long form. Default: ${default}."`
	Mix       time.Duration `help:"How long the cluster suffers in all: after each fault of it once, they come by chance. Default: each once."`
	Picture   string        `placeholder:"FILE" help:"Where the soak draws what it measured (SVG). Default: nowhere."`
	Bin       string        `type:"existingfile" help:"Binary to try. Default: built from this checkout."`
	Dir       string        `type:"existingdir" help:"Where databases and images are put. Default: the system's temporary directory."`
	Verbose   bool          `help:"Show what is going on."`
}

func main() {
	rig.RunChild()
	var f flags
	parser := kong.Parse(&f, kong.Name("faults"), rig.Vars(scenarios, func(s scenario) (name, what string) { return s.name, s.what }))
	parser.FatalIfErrorf(f.run())
}

func (f *flags) run() error {
	dir, bin, remove, err := rig.Prepare(f.Dir, f.Bin)
	if err != nil {
		return err
	}
	defer remove()
	l := &lab{flags: f, dir: dir, bin: bin}
	fmt.Printf("%s, %s, %d cores\n", time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU())
	var broken []error
	for _, s := range scenarios {
		if len(f.Scenarios) > 0 && !slices.Contains(f.Scenarios, s.name) {
			continue
		}
		begin := time.Now()
		found, err := s.run(l)
		took := time.Since(begin).Round(time.Second)
		switch {
		case err == nil:
			fmt.Printf("%-8s ok      %s (%v)\n", s.name, found, took)
		case f.Short && !f.CI && errors.Is(err, errCannot):
			fmt.Printf("%-8s NOT RUN %v\n", s.name, err)
		default:
			fmt.Printf("%-8s FAILED  %s (%v)\n", s.name, found, took)
			broken = append(broken, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errors.Join(broken...)
}
