package mail

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// received is a mail that the test server took.
type received struct {
	from, to  string
	utf8      bool
	encrypted bool
	user      string
	raw       string
}

// server is a real SMTP server of the test. Its functions decide what it answers;
// a nil one accepts.
type server struct {
	port int
	addr string

	mu          sync.Mutex
	smtp        *smtp.Server
	mails       []received
	connections int
	helo        string
	onMail      func(from string) error
	onRcpt      func(to string) error
	onData      func(raw string) error
	mechanisms  []string
	configure   func(*smtp.Server)
	wrap        func(net.Listener) net.Listener
}

// startServer starts a server on a free port of the loopback interface.
func startServer(t *testing.T, options ...func(*server)) *server {
	t.Helper()
	s := &server{addr: "127.0.0.1:0"}
	for _, option := range options {
		option(s)
	}
	s.start(t)
	t.Cleanup(s.stop)
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	s.port = listener.Addr().(*net.TCPAddr).Port
	if s.wrap != nil {
		listener = s.wrap(listener)
	}
	running := smtp.NewServer(smtp.BackendFunc(s.session))
	running.Domain = "relay.test"
	running.AllowInsecureAuth = true
	running.ReadTimeout, running.WriteTimeout = 20*time.Second, 20*time.Second
	running.ErrorLog = silent{}
	if s.configure != nil {
		s.configure(running)
	}
	s.mu.Lock()
	s.smtp = running
	s.mu.Unlock()
	go func() { _ = running.Serve(listener) }()
}

func (s *server) stop() {
	s.mu.Lock()
	running := s.smtp
	s.mu.Unlock()
	_ = running.Close()
}

func (s *server) relay() Relay {
	return Relay{Host: "127.0.0.1", Port: s.port, From: "auth@example.com", SenderName: "Example"}
}

func (s *server) all() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.mails...)
}

func (s *server) dialed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

func (s *server) session(c *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	s.connections++
	s.helo = c.Hostname()
	s.mu.Unlock()
	plain := &session{server: s, conn: c}
	if s.mechanisms == nil {
		return plain, nil
	}
	return &authSession{plain}, nil
}

type session struct {
	server *server
	conn   *smtp.Conn
	mail   received
	user   string
}

func (s *session) Reset()        { s.mail = received{} }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, options *smtp.MailOptions) error {
	if s.server.onMail != nil {
		if err := s.server.onMail(from); err != nil {
			return err
		}
	}
	_, encrypted := s.conn.TLSConnectionState()
	s.mail = received{from: from, utf8: options.UTF8, encrypted: encrypted, user: s.user}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = to
	if s.server.onRcpt != nil {
		return s.server.onRcpt(to)
	}
	return nil
}

func (s *session) Data(body io.Reader) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if s.server.onData != nil {
		if err := s.server.onData(string(raw)); err != nil {
			return err
		}
	}
	s.mail.raw = string(raw)
	s.server.mu.Lock()
	s.server.mails = append(s.server.mails, s.mail)
	s.server.mu.Unlock()
	return nil
}

// authSession is a session of a server that offers AUTH.
type authSession struct{ *session }

func (s *authSession) AuthMechanisms() []string { return s.server.mechanisms }

func (s *authSession) Auth(mechanism string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != "postern" || password != "correct-horse" {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no such login: " + password}
		}
		s.user = user + " by " + mechanism
		return nil
	}
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	case sasl.Login:
		return &loginServer{check: check}, nil
	}
	return nil, errors.New("unknown mechanism")
}

// loginServer is AUTH LOGIN, which go-sasl no longer serves.
type loginServer struct {
	user  string
	step  int
	check func(user, password string) error
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	l.step++
	switch {
	case l.step == 1 && response == nil:
		return []byte("Username:"), false, nil
	case l.user == "":
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// testCA makes a certificate authority and a server certificate for 127.0.0.1.
func testCA(t *testing.T) (*x509.CertPool, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "relay"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	signed := func(template *x509.Certificate) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, authority, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	root, err := x509.ParseCertificate(signed(authority))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pool, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{signed(leaf)}, PrivateKey: key}}}
}

// scripted answers every connection with fixed lines: the greeting, then one line
// per line that it reads; where the script ends it says nothing more.
func scripted(t *testing.T, lines ...string) Relay {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go speak(conn, lines)
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	number, _ := strconv.Atoi(port)
	return Relay{Host: "127.0.0.1", Port: number, From: "auth@example.com"}
}

func speak(conn net.Conn, lines []string) {
	defer func() { _ = conn.Close() }()
	buffer := make([]byte, 64<<10)
	for _, line := range lines {
		if line == hangUp {
			return
		}
		if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
			return
		}
		if _, err := conn.Read(buffer); err != nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, conn)
}

// hangUp in a script ends the connection.
const hangUp = "hang up"
