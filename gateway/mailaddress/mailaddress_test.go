package mailaddress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-auth/postern/gateway/mailaddress"
)

// names is a resolver double: mail hosts and addresses by name. What it does not have does not exist.
type names struct {
	mx, hosts map[string][]string
	failing   error // instead of an answer
	asked     *atomic.Int64
}

func (n names) answer(from map[string][]string, name string) ([]string, error) {
	if n.asked != nil {
		n.asked.Add(1)
	}
	if n.failing != nil {
		return nil, n.failing
	}
	found, ok := from[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return found, nil
}

func (n names) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	found, err := n.answer(n.mx, name)
	records := make([]*net.MX, 0, len(found))
	for _, host := range found {
		records = append(records, &net.MX{Host: host})
	}
	return records, err
}

func (n names) LookupHost(_ context.Context, host string) ([]string, error) {
	return n.answer(n.hosts, host)
}

func TestForm(t *testing.T) {
	t.Parallel()
	everything := names{failing: &net.DNSError{IsTemporary: true}}
	c := mailaddress.New(mailaddress.Options{Extended: true, Resolver: everything})
	for _, address := range []string{
		"ada@company.com", "Ada.Lovelace+list@mail.company.co.uk", "ada@bücher.de", `"ada lovelace"@company.com`, "sixsix@gmail.com",
		"test@company.com", "o'hara@company.com", "ada@my.test.com",
	} {
		if err := c.Check(t.Context(), address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{
		"", "ada", "@company.com", "ada@", "ada@company.com, b@company.com", "Ada <ada@company.com>", "<ada@company.com>", "ada@company.com (Ada)",
		" ada@company.com", "ada@company.com ", "ada@company.com\r\nBcc: x@company.com", "a..b@company.com", "ada@company..com",
		"test@gmail.com", "example@gmail.com", "Someone@Gmail.com", "test@email.com",
		"ada@x.test", "ada@x.example", "ada@x.invalid", "ada@printer.local", "ada@x.localhost", "ada@X.TEST",
		"ada@test", "ada@example", "ada@invalid", "ada@local", "ada@localhost", "ada@test.com", "ada@example.com", "ada@example.net",
		"ada@example.org", "ada@gamil.com", "ada@gamai.com", "ada@anonymous.com", "ada@email.com", "ada@Example.COM",
		"short@gmail.com", "ada@company", "ada@contest",
	} {
		if err := c.Check(t.Context(), address); !errors.Is(err, mailaddress.ErrInvalid) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	resolver := names{
		mx: map[string][]string{"company.com": {"mx1.company.com.", "mx2.company.com."}, "parked.com": {"mx.Parking.net."}},
		hosts: map[string][]string{
			"old.org": {"192.0.2.1"}, "parkedold.org": {"192.0.2.66"}, "company.com": {"192.0.2.66"},
		},
	}
	c := mailaddress.New(mailaddress.Options{Extended: true, Resolver: resolver, BlockedMX: []string{"mx.parking.net", "192.0.2.66"}})
	for address, want := range map[string]error{
		"ada@company.com":   nil,
		"ada@Company.com":   nil,
		"ada@old.org":       nil,
		"ada@nowhere.org":   mailaddress.ErrInvalid,
		"ada@parked.com":    mailaddress.ErrBlocked,
		"ada@parkedold.org": mailaddress.ErrBlocked,
	} {
		if err := c.Check(t.Context(), address); !errors.Is(err, want) {
			t.Errorf("%s: %v", address, err)
		}
	}
	dotted := mailaddress.New(mailaddress.Options{Extended: true, Resolver: resolver, BlockedMX: []string{"MX.parking.net."}})
	if err := dotted.Check(t.Context(), "ada@parked.com"); !errors.Is(err, mailaddress.ErrBlocked) {
		t.Error(err)
	}
}

func TestHostsThatAreNotAskedFor(t *testing.T) {
	t.Parallel()
	asked := new(atomic.Int64)
	c := mailaddress.New(mailaddress.Options{Extended: true, Resolver: names{asked: asked}})
	for _, address := range []string{"lovelace@gmail.com", "ada@outlook.com", "ada@YAHOO.co.uk"} {
		if err := c.Check(t.Context(), address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	_ = c.Check(t.Context(), "ada@example.com")
	if asked.Load() != 0 {
		t.Errorf("%d questions", asked.Load())
	}
	if err := mailaddress.New(mailaddress.Options{Resolver: names{asked: asked}}).Check(t.Context(), "nonsense"); err != nil || asked.Load() != 0 {
		t.Errorf("switched off: %v", err)
	}
}

func TestNameServersThatFail(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{
		&net.DNSError{Err: "server misbehaving", IsTemporary: true}, &net.DNSError{Err: "i/o timeout", IsTimeout: true}, io.ErrUnexpectedEOF,
	} {
		c := mailaddress.New(mailaddress.Options{Extended: true, Resolver: names{failing: failure}})
		if err := c.Check(t.Context(), "ada@nowhere.org"); err != nil {
			t.Errorf("%v: %v", failure, err)
		}
	}
}

type silent struct{}

func (silent) LookupMX(ctx context.Context, _ string) ([]*net.MX, error) {
	<-ctx.Done()
	return nil, &net.DNSError{Err: "timeout", IsTimeout: true}
}

func (silent) LookupHost(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestThreeSecondsForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := mailaddress.New(mailaddress.Options{Extended: true, Resolver: silent{}}).Check(t.Context(), "ada@company.com"); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// service is a double that answers with a status and a body, and keeps what it was asked.
func service(t *testing.T, status int, body string) (address string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		*asked = append(*asked, strings.Join([]string{
			r.Method, r.URL.String(), r.Header.Get("Content-Type"), strings.Join(r.Header.Values("X-Key"), "+"), string(question),
		}, " "))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/judge?a=1", asked
}

func TestService(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		body   string
		want   error
	}{
		{http.StatusOK, `{"valid":false}`, mailaddress.ErrInvalid},
		{http.StatusAccepted, ` {"valid": false, "a": 1}`, mailaddress.ErrInvalid},
		{http.StatusOK, `{"valid":false, "reason": "longer than the 32 bytes that are read"}`, nil},
		{http.StatusOK, `{"valid":true}`, nil},
		{http.StatusOK, `{"valid":null}`, nil},
		{http.StatusOK, `{"valid":"false"}`, nil},
		{http.StatusOK, `{}`, nil},
		{http.StatusOK, ``, nil},
		{http.StatusOK, `false`, nil},
		{http.StatusBadRequest, `{"valid":false}`, nil},
		{http.StatusTemporaryRedirect, `{"valid":false}`, nil},
	} {
		address, asked := service(t, test.status, test.body)
		c := mailaddress.New(mailaddress.Options{ServiceURL: address, ServiceHeaders: map[string][]string{"x-key": {"k1", "k2"}}})
		// Without Extended the form of the address is the service's to judge.
		if err := c.Check(t.Context(), `a"b@example.com`); !errors.Is(err, test.want) {
			t.Errorf("%d %s: %v", test.status, test.body, err)
		}
		want := []string{`POST /judge?a=1 application/json k1+k2 {"email":"a\"b@example.com"}`}
		if diff := cmp.Diff(want, *asked); diff != "" {
			t.Errorf("%d %s\n%s", test.status, test.body, diff)
		}
	}
}

func TestServiceThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // only then does the server notice that the client went away
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, address := range []string{slow.URL, closed.URL, "http://[", "nonsense"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := mailaddress.New(mailaddress.Options{ServiceURL: address}).Check(ctx, "ada@company.com"); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestServiceAndNamesTogether(t *testing.T) {
	t.Parallel()
	resolver := names{mx: map[string][]string{"company.com": {"mx.company.com."}}}
	invalid, asked := service(t, http.StatusOK, `{"valid":false}`)
	c := mailaddress.New(mailaddress.Options{Extended: true, Resolver: resolver, ServiceURL: invalid})
	if err := c.Check(t.Context(), "ada@company.com"); !errors.Is(err, mailaddress.ErrInvalid) {
		t.Error(err)
	}
	if err := c.Check(t.Context(), "ada@example.com"); !errors.Is(err, mailaddress.ErrInvalid) || len(*asked) != 1 {
		t.Errorf("%v; a form that is wrong needs no service: %q", err, *asked)
	}
}
