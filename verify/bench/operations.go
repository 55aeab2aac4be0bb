package main

import (
	"fmt"
	"net/http"

	"github.com/recapito/recapito/verify/rig"
)

const (
	operationAccounts = 1000
	operationClients  = 64
	operationRequests = 60000
)

// operations: GET and PUT of the webhook beside the bare framework.
func operations(l *lab) error {
	l.table(fmt.Sprintf("The operations of the webhook: %d clients, %d accounts", operationClients, operationAccounts),
		"operation", "per second", "bare echo/s", "ratio", "aim", "p99 at half load, ms", "aim", "bare echo's p99 at that load, ms")
	for _, op := range []struct {
		method string
		part   int // of the requests
		aim    string
	}{{http.MethodGet, 1, "≥ 0.6"}, {http.MethodPut, 3, "≥ 0.25"}} {
		var f operationFigures
		for range l.Rounds {
			if err := l.operationRound(op.method, operationRequests/op.part, &f); err != nil {
				return err
			}
		}
		l.row(op.method, f.rate.show("%.0f"), f.bare.show("%.0f"), f.ratio.show("%.2f"), op.aim, f.p99.show("%.1f"), "≤ 5", f.bareP99.show("%.1f"))
	}
	return nil
}

type operationFigures struct{ rate, bare, ratio, p99, bareP99 figures }

func (l *lab) operationRound(method string, requests int, f *operationFigures) (err error) {
	r, err := l.begin()
	if err != nil {
		return err
	}
	defer func() { err = r.end(err) }()
	echo, err := rig.StartEcho()
	if err != nil {
		return err
	}
	defer echo.Kill()
	if err := r.register(operationAccounts, func(i int) string { return r.sink.Endpoint(rig.OK, i) }); err != nil {
		return err
	}
	load := rig.Load{URL: r.service.URL, Clients: operationClients, Requests: requests, Want: http.StatusOK,
		Make: func(i int) (string, string, string, []byte) {
			account := i * 7919 % operationAccounts
			var body []byte
			if method == http.MethodPut {
				body = fmt.Appendf(nil, `{"callbackUrl":%q}`, r.sink.Endpoint(rig.OK, i%operationAccounts))
			}
			return method, "/webhooks/delivery-status", "X-API-Key: " + r.keys[account], body
		}}
	if _, err := load.Run(); err != nil { // caches
		return err
	}
	full, err := load.Run()
	if err != nil {
		return err
	}
	nothing := load
	nothing.URL, nothing.Want = echo.URL, http.StatusNoContent
	echoed, err := nothing.Run()
	if err != nil {
		return err
	}
	load.PerSecond = full.PerSecond / 2
	half, err := load.Run()
	if err != nil {
		return err
	}
	nothing.PerSecond = load.PerSecond
	least, err := nothing.Run()
	f.rate, f.bare, f.ratio = append(f.rate, full.PerSecond), append(f.bare, echoed.PerSecond), append(f.ratio, full.PerSecond/echoed.PerSecond)
	f.p99, f.bareP99 = append(f.p99, millis(half.P99)), append(f.bareP99, millis(least.P99))
	return err
}
