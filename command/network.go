package command

import (
	"encoding"
	"fmt"
	"net/netip"
	"strings"
)

// network is a flag's value: a network in CIDR notation, or one address.
type network netip.Prefix

var _ encoding.TextUnmarshaler = (*network)(nil)

// UnmarshalText is called by the parser.
func (n *network) UnmarshalText(text []byte) error {
	word := string(text)
	if !strings.Contains(word, "/") {
		addr, err := netip.ParseAddr(word)
		if err != nil || addr.Zone() != "" {
			return fmt.Errorf("%q is neither an address nor a network such as 203.0.113.16/28", word)
		}
		*n = network(netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
		return nil
	}
	p, err := netip.ParsePrefix(word)
	switch {
	case err != nil || p.Addr().Is4In6():
		return fmt.Errorf("%q is not a network such as 203.0.113.16/28", word)
	case p != p.Masked():
		return fmt.Errorf("%q has bits of a host: the network is %s", word, p.Masked())
	}
	*n = network(p)
	return nil
}

func prefixes(networks []network) []netip.Prefix {
	out := make([]netip.Prefix, len(networks))
	for i, n := range networks {
		out[i] = netip.Prefix(n)
	}
	return out
}
