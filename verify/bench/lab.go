package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/recapito/recapito/store/postgres/pgtest"
	"github.com/recapito/recapito/verify/rig"
)

// lab is where measurements are made.
type lab struct {
	*flags
	dir, bin string
	runs     int
}

// run is one service with one sink, both new.
type run struct {
	lab     *lab
	dir     string
	server  *pgtest.Server // its database; nil: an SQLite file
	service *rig.Service
	others  []*rig.Service // nodes beside it
	sink    *rig.Sink
	keys    []string // API keys of the accounts
	fed     int      // events so far
}

// begin starts a service and a sink; the caller ends the run.
func (l *lab) begin() (*run, error) {
	r, err := l.prepare()
	if err != nil {
		return nil, err
	}
	return r, r.serve()
}

// prepare starts a sink; the caller starts the service.
func (l *lab) prepare() (*run, error) {
	l.runs++
	r := &run{lab: l, dir: filepath.Join(l.dir, fmt.Sprint("run", l.runs))}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	r.sink, err = rig.StartSink(r.dir)
	return r, err
}

// serve starts the service on the run's database.
func (r *run) serve(flags ...string) (err error) {
	r.service, err = rig.Serve(r.options(flags...))
	return err
}

func (r *run) options(flags ...string) rig.Options {
	o := rig.Options{Bin: r.lab.bin, Dir: r.dir, CA: r.sink.CA, Flags: append(flags, r.lab.Flag...)}
	if r.server != nil {
		o.Store = r.server.URL(database)
	}
	return o
}

// serving has the service run while do does.
func (r *run) serving(flags []string, do func() error) error {
	if err := r.serve(flags...); err != nil {
		return err
	}
	return errors.Join(do(), r.service.Stop())
}

// end stops everything and removes what it left; err is what ended the run.
func (r *run) end(err error) error {
	errs := []error{err}
	for _, s := range r.nodes() {
		errs = append(errs, s.End(err))
	}
	r.sink.Kill()
	if r.server != nil {
		r.server.Stop()
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// nodes are the service and those beside it.
func (r *run) nodes() []*rig.Service { return append([]*rig.Service{r.service}, r.others...) }

// register gives n more accounts a webhook each; i counts from the first of all.
func (r *run) register(n int, url func(i int) string) error {
	keys, err := r.service.RegisterAll(len(r.keys), n, url)
	r.keys = append(r.keys, keys...)
	return err
}

// feed sends f's events under numbers that were not used before.
func (r *run) feed(f rig.Feed) error {
	f.From = r.fed
	r.fed += f.Events
	return f.Run(r.service)
}

// figures are one quantity over the rounds.
type figures []float64

func (f figures) median() float64 {
	s := slices.Sorted(slices.Values(f))
	if len(s)%2 == 0 {
		return (s[len(s)/2-1] + s[len(s)/2]) / 2
	}
	return s[len(s)/2]
}

// show prints the median and the spread in a table's cell.
func (f figures) show(format string) string {
	return fmt.Sprintf(format+" ("+format+" to "+format+")", f.median(), slices.Min(f), slices.Max(f))
}

func (l *lab) table(title string, head ...string) {
	fmt.Printf("\n### %s\n\n| %s |\n|%s\n", title, strings.Join(head, " | "), strings.Repeat(" --- |", len(head)))
}

func (l *lab) row(cells ...string) {
	fmt.Printf("| %s |\n", strings.Join(cells, " | "))
}

// detail goes to standard error, if asked for.
func (l *lab) detail(format string, args ...any) {
	if l.Verbose {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}
