package clientip_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/postern-auth/postern/gateway/clientip"
)

const header = "X-Forwarded-For"

func request(peer string, lines ...string) *http.Request {
	r := &http.Request{RemoteAddr: peer, Header: http.Header{}}
	for _, line := range lines {
		r.Header.Add(header, line)
	}
	return r
}

func parse(t testing.TB, list ...string) *clientip.Trusted {
	t.Helper()
	trusted, err := clientip.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return trusted
}

func TestBehindTrustedProxies(t *testing.T) {
	t.Parallel()
	trusted := parse(t, "10.0.0.0/8", " 192.0.2.7 ", "2001:db8::/32")
	for name, test := range map[string]struct {
		request *http.Request
		want    string
	}{
		"a peer that is no proxy is the client, whatever it says": {request("203.0.113.9:40000", "198.51.100.1"), "203.0.113.9"},
		"a trusted peer is believed":                              {request("10.0.0.1:40000", "198.51.100.1"), "198.51.100.1"},
		"a single trusted address":                                {request("192.0.2.7:1", "198.51.100.1"), "198.51.100.1"},
		"but not its neighbour":                                   {request("192.0.2.8:1", "198.51.100.1"), "192.0.2.8"},
		"what the client wrote itself stands further left":        {request("10.0.0.1:1", "6.6.6.6, 198.51.100.1"), "198.51.100.1"},
		"proxies behind proxies":                                  {request("10.0.0.1:1", "6.6.6.6, 198.51.100.1, 192.0.2.7, 10.2.3.4"), "198.51.100.1"},
		"a line of its own from each proxy":                       {request("10.0.0.1:1", "6.6.6.6", "198.51.100.1", "10.2.3.4"), "198.51.100.1"},
		"a proxy that calls for itself":                           {request("10.0.0.1:1"), "10.0.0.1"},
		"an empty header":                                         {request("10.0.0.1:1", ""), "10.0.0.1"},
		"only proxies":                                            {request("10.0.0.1:1", "10.3.3.3, 10.2.2.2"), "10.3.3.3"},
		"garbage ends the walk":                                   {request("10.0.0.1:1", "198.51.100.1, unknown"), "10.0.0.1"},
		"garbage behind a proxy":                                  {request("10.0.0.1:1", "198.51.100.1, unknown, 10.2.2.2"), "10.2.2.2"},
		"blank parts are nothing":                                 {request("10.0.0.1:1", "198.51.100.1, ,"), "198.51.100.1"},
		"ports":                                                   {request("10.0.0.1:1", "198.51.100.1:555"), "198.51.100.1"},
		"mapped addresses are unmapped":                           {request("[::ffff:10.0.0.1]:1", "::ffff:198.51.100.1"), "198.51.100.1"},
		"version 6 in canonical form":                             {request("[2001:DB8::1]:1", "2001:0DB9::0001"), "2001:db9::1"},
		"version 6 in brackets":                                   {request("[2001:db8::1]:1", "[2001:db9::1]"), "2001:db9::1"},
		"version 6 with a port":                                   {request("[2001:db8::1]:1", "[2001:db9::1]:80"), "2001:db9::1"},
		"a zone is dropped":                                       {request("10.0.0.1:1", "fe80::1%eth0"), "fe80::1"},
		"no peer":                                                 {request("@", "198.51.100.1"), ""},
	} {
		if got := trusted.Client(test.request, header); got != test.want {
			t.Errorf("%s: client %q, want %q", name, got, test.want)
		}
		if got := trusted.Address(test.request, header); got.IsValid() != (test.want != "") || got.IsValid() && got.String() != test.want {
			t.Errorf("%s: address %v, want %q", name, got, test.want)
		}
	}
}

func TestWithoutAListAsTheReference(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		request         *http.Request
		client, address string
	}{
		"the first part":                        {request("203.0.113.9:1", " 198.51.100.1 , 10.0.0.1"), "198.51.100.1", "198.51.100.1"},
		"no header limits nobody":               {request("203.0.113.9:1"), "", "203.0.113.9"},
		"a blank first part limits nobody":      {request("203.0.113.9:1", " , 198.51.100.1"), "", "198.51.100.1"},
		"any text counts, addresses are parsed": {request("203.0.113.9:1", "unknown, ::ffff:198.51.100.1"), "unknown", "198.51.100.1"},
		"no peer":                               {request(""), "", "invalid IP"},
	} {
		for _, trusted := range []*clientip.Trusted{nil, parse(t)} {
			if got := trusted.Client(test.request, header); got != test.client {
				t.Errorf("%s: client %q, want %q", name, got, test.client)
			}
			if got := trusted.Address(test.request, header).String(); got != test.address {
				t.Errorf("%s: address %s, want %s", name, got, test.address)
			}
			if !trusted.Believes(test.request) {
				t.Errorf("%s: not believed", name)
			}
		}
	}
}

func TestBelieves(t *testing.T) {
	t.Parallel()
	trusted := parse(t, "::ffff:10.0.0.0/104")
	if !trusted.Believes(request("10.9.9.9:1")) || trusted.Believes(request("11.0.0.1:1")) || trusted.Believes(request("@")) {
		t.Error("only proxies of the list are believed")
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{"", "localhost", "10.0.0.0/33", "10.0.0", "fe80::1%eth0", "10.0.0.1:80"} {
		_, err := clientip.Parse([]string{"10.0.0.0/8", entry})
		if err == nil || err.Error() != "entry 2 is not a network or address such as 10.0.0.0/8 or 192.0.2.1" {
			t.Errorf("%q: %v", entry, err)
		}
	}
}

func FuzzBehindTrustedProxies(f *testing.F) {
	trusted := parse(f, "10.0.0.0/8", "fd00::/8")
	f.Add("10.0.0.1:1", "198.51.100.1, 10.0.0.2")
	f.Add("[fd00::1]:1", "[2001:db9::1]:80,,unknown")
	f.Fuzz(func(t *testing.T, peer, line string) {
		r := request(peer, line)
		got := trusted.Client(r, header)
		if !trusted.Believes(r) && got != trusted.Client(request(peer), header) {
			t.Errorf("%q moved the client from %q to %q", line, peer, got)
		}
		if address, err := netip.ParseAddr(got); got != "" && (err != nil || address.String() != got) {
			t.Errorf("%q is not an address in canonical form", got)
		}
		// Whatever stands in front, the part that the trusted peer added decides.
		if r := request("10.0.0.1:1", line+", 198.51.100.1"); trusted.Client(r, header) != "198.51.100.1" {
			t.Errorf("%q was believed", line)
		}
	})
}
