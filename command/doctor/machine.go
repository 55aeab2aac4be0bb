package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/recapito/recapito/command/service"
)

// openFiles looks whether the limit of open files (0: not known) is enough.
func openFiles(cfg Config, limit uint64) Finding {
	const check = "open files"
	if limit == 0 {
		return Finding{}
	}
	_, attempts := service.ShareFiles(limit, cfg.MaxInFlight)
	if attempts < cfg.MaxInFlight {
		return warning(check, fmt.Sprintf("the limit of %d open files allows %d attempts at a time, and --max-in-flight is %d", limit, attempts, cfg.MaxInFlight),
			"raise it (ulimit -n, LimitNOFILE=): 4096 are enough for the defaults")
	}
	return ok(check, fmt.Sprintf("%d may be open: enough for %d attempts at a time", limit, cfg.MaxInFlight))
}

// built is before any build of this code.
var built = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// date looks whether the clock can be right.
func date(now time.Time) Finding {
	if now.Before(built) {
		return failure("date", "the clock says "+now.UTC().Format(time.DateOnly), "set it: receivers refuse a webhook-timestamp that is minutes off")
	}
	return Finding{}
}

// clock asks the kernel whether something keeps the clock right.
func clock() Finding {
	const check = "clock"
	synchronised, off, known := synchronisation()
	switch {
	case !known:
		return Finding{}
	case !synchronised:
		return warning(check, "nothing keeps this machine's clock right, as far as its kernel knows",
			"run chrony or systemd-timesyncd: receivers refuse a webhook-timestamp that is minutes off")
	}
	return ok(check, fmt.Sprintf("it is synchronised, and off by %v at most", off.Round(time.Millisecond)))
}

// Free disk that is too little, and that soon may be.
const (
	diskLeast = 64 << 20
	diskLow   = 1 << 30
)

// disk looks what is free where the store is, and on what it is.
func disk(cfg Config) Finding {
	const check = "disk"
	if cfg.Database == "" {
		return Finding{}
	}
	dir := filepath.Dir(cfg.Database)
	free, kind, err := space(dir)
	switch {
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, os.ErrNotExist):
		return Finding{}
	case err != nil:
		return warning(check, fmt.Sprintf("%s: %v", dir, err), "look at the disk")
	case kind == "tmpfs":
		return warning(check, dir+" is in memory: what is accepted does not survive the end of the machine", "put the store on a disk")
	case kind != "":
		return failure(check, fmt.Sprintf("%s is on a network file system (%s): SQLite cannot keep a store there intact", dir, kind), "put the store on a disk of this machine")
	case free < diskLeast:
		return failure(check, fmt.Sprintf("%d MiB are free in %s", free>>20, dir), "make space: the service stops accepting events when there is none")
	case free < diskLow:
		return warning(check, fmt.Sprintf("%d MiB are free in %s", free>>20, dir), "make space, or keep deliveries for a shorter time (--retention)")
	}
	return ok(check, fmt.Sprintf("%.1f GiB are free in %s", float64(free)/(1<<30), dir))
}

const (
	syncs     = 20
	syncsTime = 2 * time.Second
	// syncSlow is so long that a commit of a few events waits for the disk alone.
	syncSlow = 50 * time.Millisecond
)

// fsync times what every commit waits for.
func fsync(cfg Config) Finding {
	const check, do = "fsync", "look at the disk: every answer of POST /events waits for one"
	if cfg.Database == "" {
		return Finding{}
	}
	took, err := timeSyncs(filepath.Dir(cfg.Database))
	if err != nil {
		return failure(check, fmt.Sprintf("a file cannot be synced: %v", err), do)
	}
	slices.Sort(took)
	found := fmt.Sprintf("half of %d syncs of 4 KiB took at most %v, and the slowest %v", len(took), round(took[len(took)/2]), round(took[len(took)-1]))
	if took[len(took)/2] > syncSlow {
		return warning(check, found, do)
	}
	return ok(check, found)
}

func timeSyncs(dir string) (took []time.Duration, err error) {
	f, err := os.CreateTemp(dir, probe)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	page := make([]byte, 4<<10)
	for began := time.Now(); len(took) < syncs && (len(took) == 0 || time.Since(began) < syncsTime); {
		begin := time.Now()
		_, written := f.Write(page)
		if err := errors.Join(written, f.Sync()); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
