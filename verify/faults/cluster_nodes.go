package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/recapito/recapito/store/postgres/pgtest"
	"github.com/recapito/recapito/verify/rig"
)

const (
	// clusterTimeout is the deadline of attempts.
	clusterTimeout = 3 * time.Second
	// lateAnswer is how long before it an answer is given for certain.
	lateAnswer = time.Second
)

// cluster are nodes, each of which reaches the one PostgreSQL by a proxy of its own, and
// the endpoints of all accounts.
type cluster struct {
	*record
	lab      *lab
	dir      string
	server   *pgtest.Server
	receiver *rig.Receiver
	nodes    []*clusterNode
	keys     []string    // of the accounts
	open     atomic.Bool // endpoints that hang answer now
}

// clusterNode is a node, which may be started many times.
type clusterNode struct {
	options rig.Options
	proxy   *proxy
	service atomic.Pointer[rig.Service] // the last that was started
}

func (l *lab) cluster(nodes int) (c *cluster, err error) {
	c = &cluster{record: &record{}, lab: l, dir: filepath.Join(l.dir, "cluster")}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = c.end(err)
		}
	}()
	if c.receiver, err = rig.StartReceiver(c.dir, &http.Server{Handler: c, ConnContext: withStamp}, stamp); err != nil {
		return nil, err
	}
	if c.server, err = pgtest.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", errCannot, err)
	}
	for i := range nodes {
		if err := c.add(i); err != nil {
			return nil, err
		}
	}
	c.keys, err = c.nodes[0].service.Load().RegisterAll(0, clusterAccounts, func(i int) string { return c.url(i, 0) })
	return c, err
}

// add starts one more node.
func (c *cluster) add(i int) error {
	p, err := newProxy(c.server.Port)
	if err != nil {
		return err
	}
	listen, err := rig.FreeAddr()
	if err != nil {
		return err
	}
	url := strings.Replace(c.server.URL("postgres"), *p.to.Load(), p.Addr().String(), 1)
	n := &clusterNode{proxy: p, options: rig.Options{
		Bin: c.lab.bin, Dir: c.dir, Store: url, CA: c.receiver.CA, Listen: listen, Patience: clusterPatience,
		LogFile: filepath.Join(c.dir, fmt.Sprint("node", i, ".log")),
		Flags:   []string{"--attempt-timeout", clusterTimeout.String(), "--retry-schedule", "50ms,200ms,1s,5s" + strings.Repeat(",10m", 300), "--order-wait", (time.Hour + c.lab.Mix).String()}, // a PUT makes all due; nothing is given up
	}}
	if err := n.start(); err != nil {
		return err
	}
	c.nodes = append(c.nodes, n)
	return nil
}

// start starts the node and waits until it is ready.
func (n *clusterNode) start() error {
	s, err := rig.Launch(n.options)
	if err != nil {
		return err
	}
	n.service.Store(s)
	return s.AwaitReady(time.Minute)
}

// terminate asks the node to end, and waits until it has.
func (n *clusterNode) terminate() error { return n.service.Load().Stop() }

func (n *clusterNode) signal(s syscall.Signal) error { return syscall.Kill(n.service.Load().PID(), s) }

// any is a node by chance. It may not run.
func (c *cluster) any() *rig.Service { return c.nodes[rand.IntN(len(c.nodes))].service.Load() }

// one is a node by chance, to break.
func (c *cluster) one() *clusterNode { return c.nodes[rand.IntN(len(c.nodes))] }

// evictions are how many nodes all others have taken for dead since they began.
func (c *cluster) evictions() (n int, err error) {
	for _, node := range c.nodes {
		v, err := node.service.Load().Metric("recapito_nodes_evicted_total")
		if err != nil {
			return 0, err
		}
		n += int(v)
	}
	return n, nil
}

func (c *cluster) url(account, version int) string {
	return c.receiver.URL(account, fmt.Sprint(account, "/", version))
}

// ServeHTTP is the endpoints.
func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := arrival{at: receivedAt(r)} // first: the connection reads on when the body is read
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // cut by a kill
	}
	account, version, _ := strings.Cut(r.URL.Path[1:], "/")
	var err [3]error
	a.account, err[0] = strconv.Atoi(account)
	a.version, err[1] = strconv.Atoi(version)
	a.event, err[2] = strconv.Atoi(strings.TrimPrefix(r.Header.Get("webhook-id"), "evt_"))
	if errors.Join(err[:]...) != nil {
		http.NotFound(w, r)
		return
	}
	if hangs(a.account) && !c.open.Load() {
		c.arrive(a)
		<-r.Context().Done()
		return
	}
	if dawdles(a.account) && rand.IntN(8) == 0 {
		time.Sleep(clusterTimeout / 2) // still in flight at a hand-over, and delivered then
	}
	status := http.StatusServiceUnavailable // too late: nobody may hear it
	if a.acknowledged = time.Since(a.at) < clusterTimeout-lateAnswer; a.acknowledged {
		status = http.StatusNoContent
	}
	c.arrive(a)
	w.WriteHeader(status)
}

// end stops everything; err is what ended the scenario.
func (c *cluster) end(err error) error {
	errs := []error{err}
	for _, n := range c.nodes {
		errs = append(errs, n.service.Load().End(err), n.proxy.Close())
	}
	if c.server != nil {
		c.server.Stop()
	}
	if c.receiver != nil {
		errs = append(errs, c.receiver.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}
