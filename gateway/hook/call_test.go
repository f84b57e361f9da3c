package hook

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheRequest(t *testing.T) {
	t.Parallel()
	key := []byte("a key of twenty-four bytes and more")
	asymmetric, _, public := keyPair([]byte("the seed of a key, of 32 bytes. "))
	secrets := mustParse(t, "v1,whsec_"+base64.StdEncoding.EncodeToString(key)+"|"+asymmetric)
	receiver := newDouble(t, reply(200, `{"claims": {"a": 1}}`, "Content-Type: application/json; charset=utf-8"))
	input := []byte(`{"metadata": {"name":"send-sms"}, "user":"Ada Ünal"}`)
	uri := receiver.URL + "/hooks/one?tenant=7"

	output, err := New(nil, nil).Call(context.Background(), uri, secrets, input)
	if err != nil || string(output) != `{"claims": {"a": 1}}` {
		t.Fatalf("got %s, %v", output, err)
	}
	calls := receiver.seen()
	if len(calls) != 1 {
		t.Fatalf("%d calls", len(calls))
	}
	checkCall(t, calls[0], uri, input, key, public)
}

func TestWithoutSecretsTheSignatureIsEmpty(t *testing.T) {
	t.Parallel()
	receiver := newDouble(t, reply(204, ""))
	if _, err := New(nil, nil).Call(context.Background(), receiver.URL, nil, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	values, present := receiver.seen()[0].header["Webhook-Signature"]
	if !present || len(values) != 1 || values[0] != "" {
		t.Errorf("got %q, %v", values, present)
	}
}

func TestSuccess(t *testing.T) {
	t.Parallel()
	full := `{"pad":"` + strings.Repeat("x", 204_800-10) + `"}`
	for _, one := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"200", reply(200, `{}`, asJSON), `{}`},
		{"202", reply(202, `{"decision":"continue"}`, asJSON), `{"decision":"continue"}`},
		{"204 has no output", reply(204, ""), ""},
		{"null is an output", reply(200, `null`, asJSON), `null`},
		{"type with parameters", reply(200, `{}`, `Content-Type: Application/JSON; charset="utf-8"`), `{}`},
		{"exactly the limit", reply(200, full, asJSON), full},
		{"bytes that are not UTF-8", reply(200, "{\"a\":\"\xff\"}", asJSON), "{\"a\":\"\uFFFD\"}"},
		{"an error object without a message", reply(200, `{"error":{"http_code":403,"message":""}}`, asJSON), `{"error":{"http_code":403,"message":""}}`},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			receiver := newDouble(t, one.answer)
			output, err := New(nil, nil).Call(context.Background(), receiver.URL, nil, []byte(`{}`))
			if err != nil || string(output) != one.want {
				t.Errorf("got %.80s, %v", output, err)
			}
		})
	}
}

func TestAnswersThatFail(t *testing.T) {
	t.Parallel()
	unexpected := func(outcome, message string) Failure {
		return Failure{500, "unexpected_failure", message, outcome, nil}
	}
	wrongType := func(message string) Failure {
		return Failure{400, "hook_payload_invalid_content_type", message, OutcomeContentType, nil}
	}
	large := Failure{422, "hook_payload_over_size_limit", "Payload size exceeded size limit of 204800 bytes", OutcomeTooLarge, nil}
	unavailable := unexpected(OutcomeUnavailable, "Service currently unavailable due to hook")
	unreadable := unexpected(OutcomeOutput, "Error unmarshaling JSON output.")
	for _, one := range []struct {
		name   string
		answer http.HandlerFunc
		calls  int
		want   Failure
	}{
		{"400", reply(400, `{"error":{"message":"no"}}`, asJSON), 1, unexpected(OutcomeStatus, "Invalid payload sent to hook")},
		{"401", reply(401, ``), 1, unexpected(OutcomeStatus, "Hook requires authorization token")},
		{"201", reply(201, `{}`, asJSON), 1, unexpected(OutcomeStatus, "Unexpected status code returned from hook: 201")},
		{"403", reply(403, `{}`, asJSON), 1, unexpected(OutcomeStatus, "Unexpected status code returned from hook: 403")},
		{"500", reply(500, `{}`, asJSON), 1, unexpected(OutcomeStatus, "Unexpected status code returned from hook: 500")},
		{"302 to nowhere", reply(302, ``, "Location: ftp://127.0.0.1/x"), 1, unexpected(OutcomeStatus, "Unexpected status code returned from hook: 302")},
		{"429", reply(429, ``), 1, unavailable},
		{"503", reply(503, ``), 1, unavailable},
		{"429 with Retry-After", reply(429, ``, "Retry-After: 60"), 3, unavailable},
		{"503 with Retry-After", reply(503, ``, "Retry-After: true"), 3, unavailable},
		{"no type", reply(200, `{}`, "Content-Type:"), 1, wrongType("Invalid Content-Type: Missing Content-Type header")},
		{"type that is none", reply(200, `{}`, "Content-Type: ;/"), 1, wrongType("Invalid Content-Type header: mime: no media type")},
		{"another type", reply(200, `{}`, "Content-Type: text/plain; a=b"), 1, wrongType("Invalid JSON response. Received content-type: text/plain; a=b")},
		{"another type, and too large", reply(202, strings.Repeat(" ", 204_801), "Content-Type: text/html"), 1, wrongType("Invalid JSON response. Received content-type: text/html")},
		{"one byte too many", reply(200, strings.Repeat(" ", 204_801), asJSON), 1, large},
		{"far too large", reply(200, strings.Repeat(" ", 1<<20), asJSON), 1, large},
		{"empty", reply(200, ``, asJSON), 1, unreadable},
		{"array", reply(200, `[]`, asJSON), 1, unreadable},
		{"number", reply(200, `12345`, asJSON), 1, unreadable},
		{"two values", reply(200, `{}{}`, asJSON), 1, unreadable},
		{"no JSON", reply(200, `fine`, asJSON), 1, unreadable},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			receiver := newDouble(t, one.answer)
			limits := DefaultLimits()
			limits.Pause = time.Hour // nothing here may pause
			wantFailure(t, failureOf(t, New(nil, nil).WithLimits(limits), receiver.URL, nil), one.want)
			if got := len(receiver.seen()); got != one.calls {
				t.Errorf("%d calls, want %d", got, one.calls)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	refused := func(status int, code, message string) *Failure {
		return &Failure{status, code, message, OutcomeRefused, nil}
	}
	for body, want := range map[string]*Failure{
		`{"error":{"http_code":418,"message":"not in this house"}}`:            refused(418, "unknown", "not in this house"),
		`{"error":{"message":"no code"}}`:                                      refused(500, "unexpected_failure", "no code"),
		`{"error":{"http_code":0,"message":"zero"}}`:                           refused(500, "unexpected_failure", "zero"),
		`{"error":{"http_code":500,"message":"own"},"claims":{}}`:              refused(500, "unexpected_failure", "own"),
		`{"error":{"http_code":200,"message":"a success?"}}`:                   refused(200, "unknown", "a success?"),
		`{"error":{"http_code":302,"message":"elsewhere"}}`:                    refused(302, "unknown", "elsewhere"),
		`{"error":{"http_code":999,"message":"far"}}`:                          refused(999, "unknown", "far"),
		`{"error":{"http_code":1000,"message":"too far"}}`:                     refused(500, "unexpected_failure", "Internal Server Error"),
		`{"error":{"http_code":99,"message":"too low"}}`:                       refused(500, "unexpected_failure", "Internal Server Error"),
		`{"error":{"http_code":-1,"message":"negative"}}`:                      refused(500, "unexpected_failure", "Internal Server Error"),
		`{"error":{"http_code":103,"message":"an answer that does not end"}}`:  refused(500, "unexpected_failure", "Internal Server Error"),
		`{"error":{"http_code":400,"message":"nul\u0000"}}`:                    refused(400, "unknown", "nul"),
		`{"error":{"http_code":403,"message":""}}`:                             nil,
		`{"error":{"http_code":403}}`:                                          nil,
		`{"error":{"http_code":"403","message":"a status that is no number"}}`: nil,
		`{"error":"text"}`: nil,
		`{"error":null}`:   nil,
		`{}`:               nil,
		`null`:             nil,
		``:                 nil,
	} {
		got := Refused([]byte(body))
		if (got == nil) != (want == nil) {
			t.Errorf("%s: got %v", body, got)
		} else if want != nil {
			wantFailure(t, got, *want)
		}
	}
	receiver := newDouble(t, reply(202, `{"error":{"http_code":418,"message":"not in this house"}}`, asJSON))
	wantFailure(t, failureOf(t, New(nil, nil), receiver.URL, nil), *refused(418, "unknown", "not in this house"))
	noContent := newDouble(t, reply(500, `{"error":{"http_code":418,"message":"not with this status"}}`, asJSON))
	if got := failureOf(t, New(nil, nil), noContent.URL, nil); got.Outcome != OutcomeStatus {
		t.Errorf("an error object with status 500 is %s", got.Outcome)
	}
}

func TestRetriesReachAReceiverThatComesBack(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]http.HandlerFunc{
		"connection reset": reset, "busy": reply(503, "", "Retry-After: 1"), "answer cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"a":`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			receiver := newDouble(t, first, first, reply(200, `{"ok":true}`, asJSON))
			output, err := New(nil, nil).WithLimits(quick()).Call(context.Background(), receiver.URL, nil, []byte(`{}`))
			if err != nil || string(output) != `{"ok":true}` {
				t.Fatalf("got %s, %v", output, err)
			}
			ids := map[string]bool{}
			for _, one := range receiver.seen() {
				ids[one.header.Get("Webhook-Id")] = true
			}
			if len(ids) != 3 {
				t.Errorf("%d ids for 3 attempts", len(ids))
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := "http://" + listener.Addr().String() + "/?key=hidden"
	_ = listener.Close()
	resetting := newDouble(t, reset)
	for _, uri := range []string{refusing, resetting.URL} {
		got := failureOf(t, New(nil, nil).WithLimits(quick()), uri, nil)
		wantFailure(t, got, Failure{422, "hook_timeout_after_retry", "Failed to reach hook after maximum retries", OutcomeUnreachable, nil})
		if got.Unwrap() == nil || strings.Contains(got.Error(), "hidden") {
			t.Errorf("cause: %v", got)
		}
	}
	if got := len(resetting.seen()); got != 3 {
		t.Errorf("%d attempts", got)
	}
}

func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	limits := quick()
	limits.Total = 50 * time.Millisecond
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	drip := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	for _, answer := range []http.HandlerFunc{hang, drip} {
		receiver := newDouble(t, answer)
		wantFailure(t, failureOf(t, New(nil, nil).WithLimits(limits), receiver.URL, nil),
			Failure{422, "hook_timeout", "Failed to reach hook within maximum time of 0.050000 seconds", OutcomeTimeout, nil})
	}
}

func TestTheRequestThatCallsEndsFirst(t *testing.T) {
	t.Parallel()
	receiver := newDouble(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := New(nil, nil).Call(ctx, receiver.URL, nil, []byte(`{}`))
	var failure *Failure
	if !errors.As(err, &failure) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	wantFailure(t, failure, Failure{504, "request_timeout", "Processing this request timed out, please retry after a moment.", OutcomeCancelled, nil})
}

// transport stands in for the network where a test runs on a clock of its own.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTheLimitsOfTheContract(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		name     string
		network  transport
		attempts int
		took     time.Duration
		want     string
	}{
		{"refused at once", func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }, 3, 4 * time.Second, "hook_timeout_after_retry"},
		{"never an answer", func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, 1, 5 * time.Second, "hook_timeout"},
		{"the pause is cut short", func(*http.Request) (*http.Response, error) {
			time.Sleep(3500 * time.Millisecond)
			return nil, errors.New("reset")
		}, 1, 5 * time.Second, "hook_timeout"},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				network := transport(func(r *http.Request) (*http.Response, error) {
					attempts++
					return one.network(r)
				})
				began := time.Now()
				got := failureOf(t, New(&http.Client{Transport: network}, nil), "https://hooks.example.com/", nil)
				if took := time.Since(began); took != one.took || attempts != one.attempts || got.Code != one.want {
					t.Errorf("%d attempts in %v: %v", attempts, took, got)
				}
				if one.want == "hook_timeout" && got.Message != "Failed to reach hook within maximum time of 5.000000 seconds" {
					t.Error(got.Message)
				}
			})
		})
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	end := newDouble(t, reply(200, `{"end":true}`, asJSON))
	for status, method := range map[int]string{302: "GET", 303: "GET", 307: "POST", 308: "POST"} {
		start := newDouble(t, reply(status, "", fmt.Sprintf("Location: %s/%d", end.URL, status)))
		output, err := New(nil, nil).Call(context.Background(), start.URL+"/?key=hidden", nil, []byte(`{}`))
		if err != nil || string(output) != `{"end":true}` {
			t.Fatalf("%d: %s, %v", status, output, err)
		}
		calls := end.seen()
		got := calls[len(calls)-1]
		if got.method != method || got.path != fmt.Sprintf("/%d", status) || (method == "POST") != (string(got.body) == `{}`) {
			t.Errorf("%d: %s %s with %q", status, got.method, got.path, got.body)
		}
		if fmt.Sprint(got.header) != strings.ReplaceAll(fmt.Sprint(got.header), "hidden", "") {
			t.Errorf("the query of the first address went along: %v", got.header)
		}
	}
}

func TestRedirectsFromHTTPSToHTTPAreNotFollowed(t *testing.T) {
	t.Parallel()
	inside := newDouble(t, reply(200, `{}`, asJSON))
	outside := httptest.NewTLSServer(reply(307, "", "Location: "+inside.URL))
	t.Cleanup(outside.Close)
	got := failureOf(t, New(outside.Client(), nil), outside.URL, nil)
	if got.Message != "Unexpected status code returned from hook: 307" || len(inside.seen()) != 0 {
		t.Errorf("%v, %d calls", got, len(inside.seen()))
	}
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewUnstartedServer(reply(200, `{"tls":true}`, asJSON))
	receiver.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the second call
	receiver.StartTLS()
	t.Cleanup(receiver.Close)
	output, err := New(receiver.Client(), nil).Call(context.Background(), receiver.URL, nil, []byte(`{}`))
	if err != nil || string(output) != `{"tls":true}` {
		t.Errorf("got %s, %v", output, err)
	}
	if got := failureOf(t, New(nil, nil).WithLimits(quick()), receiver.URL, nil); got.Outcome != OutcomeUnreachable {
		t.Errorf("a certificate that nobody knows: %v", got)
	}
}

func TestWhatIsNotCalled(t *testing.T) {
	t.Parallel()
	protocol := "unsupported protocol: only postgres hooks and HTTPS functions are supported at the moment"
	for uri, message := range map[string]string{
		"":                               protocol,
		"ftp://127.0.0.1/":               protocol,
		"https://":                       protocol,
		"https://user:pass\x7f@host":     protocol,
		"pg-functions://postgres/a/b":    protocol,
		"http://hooks.example.com/":      "only localhost, 127.0.0.1, and ::1 are supported with http",
		"http://127.0.0.1.example.com/a": "only localhost, 127.0.0.1, and ::1 are supported with http",
	} {
		wantFailure(t, failureOf(t, New(nil, nil), uri, nil), Failure{500, "unexpected_failure", message, OutcomeURI, nil})
	}
	broken := mustParse(t, "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw!")
	receiver := newDouble(t, reply(204, ""))
	wantFailure(t, failureOf(t, New(nil, nil), receiver.URL, broken), Failure{
		500, "unexpected_failure",
		"Error generating signatures: unable to create webhook, err: illegal base64 data at input byte 32", OutcomeSignature, nil,
	})
	if len(receiver.seen()) != 0 {
		t.Error("called without a signature")
	}
}

func TestTheLogLine(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		answer http.HandlerFunc
		want   map[string]any
	}{
		{reply(204, ""), map[string]any{"level": "INFO", "msg": "Hook ran successfully", "success": true}},
		{reply(403, ""), map[string]any{
			"level": "WARN", "msg": "Hook errored out", "success": false, "outcome": "status",
			"error": "Unexpected status code returned from hook: 403",
		}},
		{reply(200, `{"error":{"http_code":403,"message":"ada@example.com is banned"}}`, asJSON), map[string]any{
			"level": "WARN", "msg": "Hook errored out", "success": false, "outcome": "refused", "error": "refused with status 403",
		}},
	} {
		logger, text := recorder()
		receiver := newDouble(t, one.answer)
		uri := strings.Replace(receiver.URL, "http://", "http://user:password@", 1) + "/hook?key=hidden"
		_, _ = New(nil, logger).Call(context.Background(), uri, nil, []byte(`{}`))
		var got map[string]any
		if err := json.Unmarshal(text.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		one.want["action"], one.want["hook"] = "run_hook", receiver.URL+"/hook"
		for name, value := range one.want {
			if got[name] != value {
				t.Errorf("%s: %v, want %v", name, got[name], value)
			}
		}
		if took, ok := got["duration"].(float64); !ok || took < 1 {
			t.Errorf("duration %v", got["duration"])
		}
		if bytes.ContainsAny(text.Bytes(), "@?") || bytes.Contains(text.Bytes(), []byte("password")) {
			t.Errorf("logged: %s", text)
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	var verdict struct {
		Decision string `json:"decision"`
		Logout   bool   `json:"should_logout_user"`
	}
	for _, output := range []string{"", "null", "{}"} {
		if err := Decode([]byte(output), &verdict); err != nil || verdict.Decision != "" {
			t.Errorf("%q: %v", output, err)
		}
	}
	if err := Decode([]byte(`{"decision":"reject","should_logout_user":true}`), &verdict); err != nil || !verdict.Logout {
		t.Errorf("%v, %v", verdict, err)
	}
	var failure *Failure
	if err := Decode([]byte(`{"decision":7}`), &verdict); !errors.As(err, &failure) {
		t.Fatalf("got %v", err)
	}
	wantFailure(t, failure, Failure{500, "unexpected_failure", "Error unmarshaling JSON output.", OutcomeOutput, nil})
}

func TestPoints(t *testing.T) {
	t.Parallel()
	for point, want := range map[Point]string{
		SendSMS: "send-sms", SendEmail: "send-email", CustomAccessToken: "customize-access-token",
		MFAVerificationAttempt: "mfa-verification", PasswordVerificationAttempt: "password-verification",
		BeforeUserCreated: "before-user-created", AfterUserCreated: "after-user-created",
	} {
		if got := point.MetadataName(); got != want {
			t.Errorf("%s: %s", point, got)
		}
	}
}
