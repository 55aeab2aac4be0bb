// Command bench measures the built binary from outside and prints the tables of
// README.md: the throughput, the latency and the cost of delivery, beside a loop
// that does nothing but POST.
//
//	go run ./verify/bench                    all tables
//	go run ./verify/bench throughput         one of them
//	go run ./verify/bench --rounds 9 …
package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/alecthomas/kong"

	"github.com/recapito/recapito/verify/rig"
)

// scenario is one table.
type scenario struct {
	name, what string
	run        func(*lab) error
}

var scenarios = []scenario{
	{"throughput", "delivered/s and CPU beside the raw loop", throughput},
	{"latency", "from the platform's request to the arrival", latency},
	{"intake", "one account's single events beside another's great batches", intake},
	{"refusals", "endpoints that refuse some requests", refusals},
	{"isolation", "healthy endpoints beside broken ones", isolation},
	{"lukewarm", "connections to endpoints called every few seconds", lukewarm},
	{"recovery", "an endpoint returns to its backlog", recovery},
	{"operations", "the four operations beside bare echo", operations},
	{"feed", "twenty readers of an account's feed beside 100,000 events", feed},
	{"replay", "a million failed deliveries are sent again beside new events", replay},
	{"health", "the health of an account with millions of deliveries", health},
	{"backlog", "millions of events waiting", backlog},
	{"accounts", "a million registrations", accounts},
	{"history", "millions of finished deliveries", history},
	{"nodes", "one node and four on a PostgreSQL, and its CPU", nodes},
	{"handoff", "events and PUTs from node to node", handoff},
	{"takeover", "a node is killed in whose shards events wait", takeover},
	{"console", "open consoles beside events; a live page and a long list in a browser", console},
	{"sizing", "what events take of disk and memory, for docs/sizing.md", sizing},
}

type flags struct {
	Scenarios []string `arg:"" optional:"" enum:"${enum}" help:"Which tables: ${names}. Default: all."`
	Rounds    int      `default:"5" help:"Rounds of each measurement, of which the median counts."`
	Events    int      `default:"60000" help:"Events of a round, but for those that take a given time."`
	Lukewarm  int      `default:"5000" help:"Endpoints that are called every few seconds; each is an open file of the service and of the sink."`
	Backlog   int      `default:"5000000" help:"Events of the backlog."`
	Replay    int      `default:"1000000" help:"Failed deliveries that are sent again."`
	Accounts  int      `default:"1000000" help:"Accounts that are many."`
	History   int      `default:"10000000" help:"Deliveries of the history."`
	NodeRate  float64  `default:"1000" help:"Events a second at each of four nodes."`
	Waiting   int      `default:"1000000" help:"Events that wait in the shards of a node that is killed."`
	Sizing    int      `default:"1000000" help:"Events of sizing."`
	Consoles  int      `default:"200" help:"Open consoles."`
	Minutes   int      `default:"60" help:"How long the console's live page is watched."`
	Hurry     int      `default:"1" help:"How many times as fast that page's timers run: its life of a day in an hour."`
	Bin       string   `type:"existingfile" help:"Binary to measure. Default: built from this checkout."`
	Dir       string   `type:"existingdir" help:"Where databases are put; it decides what an fsync costs. Default: the system's temporary directory."`
	Picture   string   `placeholder:"FILE" help:"Where recovery draws its last round (SVG). Default: nowhere."`
	Verbose   bool     `help:"Show what the figures are made of."`
	Flag      []string `help:"Flag for recapito serve, to measure other than the defaults; repeatable."`
}

func main() {
	rig.RunChild()
	var f flags
	parser := kong.Parse(&f, kong.Name("bench"), rig.Vars(scenarios, func(s scenario) (name, what string) { return s.name, s.what }))
	parser.FatalIfErrorf(f.run())
}

func (f *flags) run() error {
	dir, bin, remove, err := rig.Prepare(f.Dir, f.Bin)
	if err != nil {
		return err
	}
	defer remove()
	l := &lab{flags: f, dir: dir, bin: bin}
	fmt.Printf("%s, %s, %d cores, %s/%s; %d rounds, median (least to most)\n",
		time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, f.Rounds)
	for _, s := range scenarios {
		if !f.wants(s.name) {
			continue
		}
		if err := s.run(l); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func (f *flags) wants(name string) bool {
	return len(f.Scenarios) == 0 || slices.Contains(f.Scenarios, name)
}
