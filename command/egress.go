package command

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/recapito/recapito/dispatcher/egress"
)

// egressFlags say where callbacks go, and by which way.
type egressFlags struct {
	AllowNetwork           []netip.Prefix `placeholder:"CIDR" help:"Opens a private range to callbacks, for example 127.0.0.0/8; repeatable. Default: none."`
	DenyNetwork            []netip.Prefix `placeholder:"CIDR" help:"Closes a range to callbacks, whatever --allow-network says, for example the network's own NAT64 prefix; repeatable. Default: none."`
	CallbackPort           []uint16       `placeholder:"PORT" help:"Port that callbacks may go to, and no other; repeatable. Default: any."`
	CallbackConnectionLife time.Duration  `default:"60s" placeholder:"TIME" help:"Age at which a connection to an endpoint is closed, so that its name is looked up again. Default: ${default}."`
	CallbackCA             string         `type:"path" placeholder:"FILE" help:"Certificate authorities (PEM) trusted for callbacks, beside the system's."`
	CallbackClientCert     string         `type:"path" placeholder:"FILE" help:"Certificate chain (PEM) that is shown to endpoints that ask for one. Default: none."`
	CallbackClientKey      string         `type:"path" placeholder:"FILE" help:"Private key (PEM) of --callback-client-cert."`
	CallbackSource         []network      `placeholder:"CIDR" help:"Network or address that callbacks come from, as receivers see it; repeatable. Accounts can read it, and open their firewalls to it. Default: --egress-address, if it is public and there is no proxy."`

	EgressProxy         string       `placeholder:"URL" help:"Proxy that all callbacks go by: http, https (CONNECT) or socks5, such as http://user:password@proxy.example.com:3128. Other users of the machine can see the command line: use the variable, or --egress-proxy-file. Default: none."`
	EgressProxyFile     string       `type:"path" placeholder:"FILE" help:"File of the proxy's URL. Default: egress-proxy in $$CREDENTIALS_DIRECTORY, if it is there."`
	EgressProxyResolves bool         `help:"The proxy looks names up, and must refuse what is not public: only addresses that stand in a URL, and ports, are checked here. Default: names are looked up here, and the proxy is told the address that was checked."`
	EgressAddress       []netip.Addr `placeholder:"ADDRESS" help:"Address of this machine that callbacks come from; repeatable, once for IPv4 and once for IPv6. Default: the system chooses."`
}

// validate is for what can be said without a file.
func (f *egressFlags) validate() error {
	var wrong []error
	refuse := func(is bool, why string) {
		if is {
			wrong = append(wrong, errors.New(why))
		}
	}
	refuse(f.CallbackConnectionLife <= 0, "--callback-connection-life: must be longer than zero")
	refuse(slices.Contains(f.CallbackPort, 0), "--callback-port: must be 1 to 65535")
	refuse((f.CallbackClientCert == "") != (f.CallbackClientKey == ""), "--callback-client-cert and --callback-client-key go together")
	families := map[bool]int{}
	for _, a := range f.EgressAddress {
		families[a.Is4()]++
	}
	refuse(families[true] > 1 || families[false] > 1, "--egress-address: give at most one of IPv4 and one of IPv6")
	return errors.Join(wrong...)
}

// egress is the part that lasts: what a reload changes is in [serveCmd.live].
func (f *egressFlags) egress() (cfg egress.Config, err error) {
	cfg = egress.Config{Allow: f.AllowNetwork, Deny: f.DenyNetwork, Ports: f.CallbackPort, ConnectionLife: f.CallbackConnectionLife, Source: f.EgressAddress}
	for _, a := range f.EgressAddress {
		if err := checkSource(a); err != nil {
			return cfg, err
		}
	}
	cfg.Proxy, err = f.proxy()
	return cfg, err
}

// proxy is nil without one.
func (f *egressFlags) proxy() (*egress.Proxy, error) {
	raw, err := secret("egress-proxy", f.EgressProxy, f.EgressProxyFile)
	switch {
	case err != nil:
		return nil, err
	case raw == "" && f.EgressProxyResolves:
		return nil, errors.New("--egress-proxy-resolves: there is no --egress-proxy")
	case raw == "":
		return nil, nil
	}
	p, err := egress.ParseProxy(raw)
	if err != nil {
		return nil, fmt.Errorf("--egress-proxy: %w", err)
	}
	p.Resolves = f.EgressProxyResolves
	return p, nil
}

// checkSource asks the system whether the address is this machine's.
func checkSource(a netip.Addr) error {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		return fmt.Errorf("--egress-address: %w", err)
	}
	return l.Close()
}

// sources are what accounts are told: what the operator states, else the addresses that
// receivers see.
func (f *egressFlags) sources(cfg *egress.Config) []netip.Prefix {
	if len(f.CallbackSource) > 0 || cfg.Proxy != nil {
		return prefixes(f.CallbackSource)
	}
	var seen []netip.Prefix
	for _, a := range f.EgressAddress {
		if !egress.Public(a) {
			return nil // something translates it
		}
		seen = append(seen, netip.PrefixFrom(a, a.BitLen()))
	}
	return seen
}
