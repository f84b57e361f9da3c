package http_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A hook may repeat in its words what it was told. Neither the client, who may be anybody, nor log and records get to know a code.
func TestCodesInTheWordsOfHooksAreHidden(t *testing.T) {
	t.Parallel()
	told := func(event map[string]any) string {
		for _, path := range []string{"email_data.token", "sms.otp"} {
			if code, ok := member(event, path).(string); ok {
				return code
			}
		}
		return ""
	}
	d, r := newHookDouble(t), startRelay(t)
	overHTTP := start(t, byHook(d, r)...)
	var codes []string
	d.calling(func(_ string, event map[string]any) (int, any) {
		codes = append(codes, told(event))
		return 200, refusing(500, "no stamps for <"+told(event)+">")
	})
	for path, body := range map[string]any{"/signup": signUpBodyOf("new@example.com"), "/otp": map[string]any{"phone": "4915"}} {
		if msg := overHTTP.post(path, body, "").want(500).text("msg"); msg != "no stamps for <***>" {
			t.Errorf("%s: msg %q", path, msg)
		}
	}
	overHTTP.eventually("both are recorded", func() bool { return overHTTP.one(`select count(*) from auth.hook_runs`) == "2" })
	for _, code := range codes {
		if code == "" || strings.Contains(overHTTP.Log.String()+overHTTP.dump(), "<"+code+">") {
			t.Errorf("the code %q is kept", code)
		}
	}

	// The text of a statement that a function makes stands in the context of its error.
	s := start(t, sendingFunctions(r)...)
	s.sendingFunction(`execute format('do $x$ begin raise exception using message = ''no stamps for <'' || %1$L || ''>'', hint = ''<'' || %1$L || ''>''; end $x$',
		coalesce(event -> 'email_data', event -> 'sms') ->> case when event ? 'sms' then 'otp' else 'token' end);`)
	for path, body := range map[string]any{"/signup": signUpBodyOf("new@example.com"), "/otp": map[string]any{"phone": "4915"}} {
		a := s.post(path, body, "").want(500)
		if got := a.text("message") + a.text("hint"); got != "no stamps for <***><***>" {
			t.Errorf("%s: %s", path, a.Raw)
		}
		if context := s.one(`select context from auth.hook_runs where request_id = $1`, a.Header.Get("X-Request-Id")); !strings.Contains(context, "'***'") {
			t.Errorf("%s: context %s", path, context)
		}
	}
	if log := s.Log.String(); !strings.Contains(log, "<***>") || strings.Count(log, "'***'") == 0 {
		t.Errorf("log %s", log)
	}
}

// A hook that takes all the time of a request leaves some for taking back what the request wrote.
func TestWhatIsNotSentInTimeIsTakenBack(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	s := start(t, byHook(d, r, "GOTRUE_API_MAX_REQUEST_DURATION=3s")...)
	d.answering(0, nil)
	for _, body := range []map[string]any{{"email": "new@example.com"}, {"phone": "4915"}} {
		s.post("/otp", body, "").refused(504, "request_timeout")
		if got := s.one(`select (select count(*) from auth.users) + (select count(*) from auth.outbox) + (select count(*) from auth.one_time_tokens)`); got != "0" {
			t.Errorf("%v: %s rows are left", body, got)
		}
	}
}

// The same of the hook that is asked for claims: the session that nobody holds is ended.
func TestTokenHookThatTakesAllTheTimeLeavesNoSession(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s := start(t, append(d.on("custom_access_token"), "GOTRUE_API_MAX_REQUEST_DURATION=3s")...)
	d.answering(0, nil)
	s.post("/signup", map[string]any{}, "").refused(504, "request_timeout")
	if got := s.one(`select count(*) from auth.sessions`); got != "0" {
		t.Errorf("%s sessions are left", got)
	}
}

// What cannot be taken back is named in the log: the account stays, and what it was sent may come again.
func TestWhatCannotBeTakenBackIsLogged(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	s := start(t, byHook(d, r)...)
	s.exec(`revoke execute on function postern.take_back from postern_gateway`)
	d.answering(200, refusing(418, "not here"))
	id := s.post("/otp", map[string]any{"phone": "4915"}, "").refused(418, "unknown").Header.Get("X-Request-Id")
	if log := s.Log.String(); !strings.Contains(log, "could not be taken back") || !strings.Contains(log, id) {
		t.Errorf("log %s", log)
	}
}

// SMS that are out are noted as sent before the gateway stops: the next one would send them again.
func TestSMSAreRecordedBeforeTheGatewayStops(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	s := start(t, byHook(d, r, "GOTRUE_DB_MAX_POOL_SIZE=2")...)
	s.exec(`create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.2); return new; end $$;
		create trigger slow before update on auth.outbox for each row execute function public.slow()`)
	const many = 8
	var asked sync.WaitGroup
	asked.Add(many)
	d.calling(func(string, map[string]any) (int, any) {
		asked.Done()
		asked.Wait()
		return 204, nil
	})
	var requests sync.WaitGroup
	for i := range many {
		requests.Go(func() {
			if a, err := s.send(call{Method: http.MethodPost, Path: "/otp", Body: map[string]any{"phone": fmt.Sprint("49", i+1)}}); err != nil || a.Status != 200 {
				t.Errorf("%v %v", a, err)
			}
		})
	}
	requests.Wait()
	s.stop()
	if got := s.one(`select count(*) from auth.outbox where state = 'sent'`); got != fmt.Sprint(many) {
		t.Errorf("%s of %d are noted as sent: %s", got, many, s.Log.String())
	}
}

// A delivery that fails while the gateway stops is explained like others.
func TestRunsAreRecordedBeforeTheGatewayStops(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	s := start(t, byHook(d, r)...)
	asked, stopping := make(chan struct{}), make(chan struct{})
	d.calling(func(string, map[string]any) (int, any) {
		close(asked)
		<-stopping
		return 500, nil
	})
	id := s.account("ada@example.com")
	s.enqueue("ada", 1)
	s.exec(`update auth.outbox set user_id = $1`, id)
	<-asked
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.stop() }()
	s.eventually("the gateway stops", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	close(stopping)
	<-stopped
	if got := s.one(`select coalesce(string_agg(concat_ws(' ', point, outcome), ', '), '') from auth.hook_runs`); got != "send_email status" {
		t.Errorf("recorded: %q", got)
	}
}

// Every sign-in may ask a hook: connections to it are kept for the next ones.
func TestConnectionsToHooksAreKept(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	var connections atomic.Int64
	receiver := httptest.NewUnstartedServer(d)
	receiver.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	receiver.Start()
	t.Cleanup(receiver.Close)
	d.URL = receiver.URL
	s := start(t, d.on("before_user_created")...)
	const many = 8
	for range 3 {
		var asked, requests sync.WaitGroup
		asked.Add(many)
		d.calling(func(string, map[string]any) (int, any) {
			asked.Done()
			asked.Wait()
			return 204, nil
		})
		for range many {
			requests.Go(func() {
				if a, err := s.send(call{Method: http.MethodPost, Path: "/signup", Body: map[string]any{}}); err != nil || a.Status != 200 {
					t.Errorf("%v %v", a, err)
				}
			})
		}
		requests.Wait()
	}
	if got := connections.Load(); got != many {
		t.Errorf("%d connections for %d calls at a time", got, many)
	}
}
