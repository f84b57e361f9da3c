// Package clientip tells which address a request came from when proxies stand in between (core.md 1.11, 11.1).
//
// A header is a claim. With a list of trusted proxies it is believed only as far as those proxies wrote it; without a list it is
// believed as the reference believes it, which leaves the header to whatever proxy stands in front.
package clientip

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

var errNoAddress = errors.New("not an address")

// Trusted is a list of proxies. It does not change and is safe for concurrent use; nil is an empty list.
type Trusted struct {
	networks []netip.Prefix
}

// Parse reads networks such as 10.0.0.0/8 and single addresses; blanks around them are dropped.
func Parse(list []string) (*Trusted, error) {
	trusted := &Trusted{}
	for i, entry := range list {
		network, err := parseNetwork(strings.TrimSpace(entry))
		if err != nil {
			return nil, fmt.Errorf("entry %d is not a network or address such as 10.0.0.0/8 or 192.0.2.1", i+1)
		}
		trusted.networks = append(trusted.networks, network)
	}
	return trusted, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, errNoAddress
		}
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	// Addresses are compared unmapped, so a network of mapped ones has to be too.
	if network.Addr().Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	return network.Masked(), nil
}

// Configured reports whether there are trusted proxies.
func (t *Trusted) Configured() bool { return t != nil && len(t.networks) > 0 }

// Believes reports whether the headers of a request may say where it came from: its peer is a trusted proxy, or there is no list.
func (t *Trusted) Believes(r *http.Request) bool { return !t.Configured() || t.contains(peer(r)) }

// Client returns whom the limits per client count for a request, by the header that proxies write client addresses to; "" is
// nobody. Without a list it is the first part of the header as it stands (core.md 11.1). With one it is an address: of the
// peer when that is no trusted proxy or the header is missing, else what Address says.
func (t *Trusted) Client(r *http.Request, header string) string {
	if !t.Configured() {
		first, _, _ := strings.Cut(r.Header.Get(header), ",")
		return strings.TrimSpace(first)
	}
	if address := t.behindProxies(r, header); address.IsValid() {
		return address.String()
	}
	return ""
}

// Address returns the client's address for sessions and logs; it is invalid when none is known. Without a list it is the first
// part of the header that is an address, else the peer's (core.md 1.11).
func (t *Trusted) Address(r *http.Request, header string) netip.Addr {
	if t.Configured() {
		return t.behindProxies(r, header)
	}
	for part := range strings.SplitSeq(r.Header.Get(header), ",") {
		if address, err := netip.ParseAddr(strings.TrimSpace(part)); err == nil {
			return canonical(address)
		}
	}
	return peer(r)
}

// behindProxies walks from the peer back towards the client, as long as it was a trusted proxy that said who came before. What
// a client wrote into the header itself stands further left and is never reached.
func (t *Trusted) behindProxies(r *http.Request, header string) netip.Addr {
	client := peer(r)
	// A proxy may add a line of its own instead of extending the one it got.
	parts := strings.Split(strings.Join(r.Header.Values(header), ","), ",")
	for i := len(parts) - 1; i >= 0 && t.contains(client); i-- {
		part := strings.TrimSpace(parts[i])
		if part == "" {
			continue
		}
		before, ok := parseHop(part)
		if !ok {
			// "unknown" or garbage: the last proxy that is known stands for what is behind it.
			break
		}
		client = before
	}
	return client
}

func (t *Trusted) contains(address netip.Addr) bool {
	for _, network := range t.networks {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// parseHop reads one part of a header; some proxies write ports and brackets.
func parseHop(text string) (netip.Addr, bool) {
	if address, err := netip.ParseAddr(text); err == nil {
		return canonical(address), true
	}
	if both, err := netip.ParseAddrPort(text); err == nil {
		return canonical(both.Addr()), true
	}
	if inside, ok := strings.CutPrefix(text, "["); ok {
		if address, err := netip.ParseAddr(strings.TrimSuffix(inside, "]")); err == nil {
			return canonical(address), true
		}
	}
	return netip.Addr{}, false
}

// peer is the address at the other end of the connection, invalid when it has none.
func peer(r *http.Request) netip.Addr {
	both, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return canonical(both.Addr())
}

func canonical(address netip.Addr) netip.Addr { return address.Unmap().WithZone("") }
