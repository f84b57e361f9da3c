package sms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/postern-auth/postern/gateway/config"
)

// What vendors answer to a message they take.
const (
	twilioTakes      = `{"sid":"SM1","status":"queued","error_code":null,"error_message":null,"to":"+15551234567"}`
	verifyTakes      = `{"sid":"VE1","service_sid":"VA2","status":"pending","valid":false,"channel":"sms"}`
	messageBirdTakes = `{"id":"b1","recipients":{"totalCount":1,"totalSentCount":1,"items":[{"recipient":15551234567}]}}`
	vonageTakes      = `{"message-count":"1","messages":[{"to":"15551234567","message-id":"0C1","status":"0"}]}`
	textLocalTakes   = `{"balance":1162,"messages":[{"id":1151346216,"recipient":15551234567}],"status":"success"}`

	twilioPath = "/2010-04-01/Accounts/AC1/Messages.json"
	twilioAuth = "Basic QUMxOnR3aWxpby10b2tlbg==" // AC1:twilio-token
	verifyAuth = "Basic QUMyOnZlcmlmeS10b2tlbg==" // AC2:verify-token
	text       = "Your code is 987654"
)

func TestRequests(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		name, provider, channel string
		values                  map[string]config.Secret
		answer                  string
		path, authorization     string
		form                    url.Values
		id                      string
	}{
		{
			"twilio", "twilio", "sms", nil, twilioTakes, twilioPath, twilioAuth,
			url.Values{"To": {"+15551234567"}, "Channel": {"sms"}, "From": {"MG1"}, "Body": {text}},
			"SM1",
		},
		{
			"no channel is sms", "twilio", "", nil, twilioTakes, twilioPath, twilioAuth,
			url.Values{"To": {"+15551234567"}, "Channel": {"sms"}, "From": {"MG1"}, "Body": {text}},
			"SM1",
		},
		{
			"twilio, whatsapp from a service", "twilio", "whatsapp", nil, twilioTakes, twilioPath, twilioAuth,
			url.Values{"To": {"whatsapp:+15551234567"}, "Channel": {"whatsapp"}, "From": {"MG1"}, "Body": {text}},
			"SM1",
		},
		{
			"twilio, whatsapp from a number", "twilio", "whatsapp",
			map[string]config.Secret{"twilio_message_service_sid": "+1 555 0001111"},
			twilioTakes, twilioPath, twilioAuth,
			url.Values{"To": {"whatsapp:+15551234567"}, "Channel": {"whatsapp"}, "From": {"whatsapp:+1 555 0001111"}, "Body": {text}},
			"SM1",
		},
		{
			"twilio, a number sends plain SMS", "twilio", "sms",
			map[string]config.Secret{"twilio_message_service_sid": "+15550001111"},
			twilioTakes, twilioPath, twilioAuth,
			url.Values{"To": {"+15551234567"}, "Channel": {"sms"}, "From": {"+15550001111"}, "Body": {text}},
			"SM1",
		},
		{
			"twilio, whatsapp with a registered template", "twilio", "whatsapp",
			map[string]config.Secret{"twilio_content_sid": "HX1"},
			twilioTakes, twilioPath, twilioAuth,
			url.Values{
				"To": {"whatsapp:+15551234567"}, "Channel": {"whatsapp"}, "From": {"MG1"},
				"ContentSid": {"HX1"}, "ContentVariables": {`{"1": "987654"}`},
			},
			"SM1",
		},
		{
			"twilio, the registered template is not for SMS", "twilio", "sms",
			map[string]config.Secret{"twilio_content_sid": "HX1"},
			twilioTakes, twilioPath, twilioAuth,
			url.Values{"To": {"+15551234567"}, "Channel": {"sms"}, "From": {"MG1"}, "Body": {text}},
			"SM1",
		},
		{
			"twilio_verify", "twilio_verify", "sms", nil, verifyTakes, "/v2/Services/VA2/Verifications", verifyAuth,
			url.Values{"To": {"+15551234567"}, "Channel": {"sms"}},
			"VE1",
		},
		{
			"twilio_verify, whatsapp", "twilio_verify", "whatsapp", nil, verifyTakes, "/v2/Services/VA2/Verifications", verifyAuth,
			url.Values{"To": {"+15551234567"}, "Channel": {"whatsapp"}},
			"VE1",
		},
		{
			"messagebird", "messagebird", "sms", nil, messageBirdTakes, "/messages", "AccessKey bird-key",
			url.Values{
				"originator": {"Postern"}, "body": {text}, "recipients": {"15551234567"}, "type": {"sms"}, "datacoding": {"unicode"},
			},
			"b1",
		},
		{
			"vonage", "vonage", "sms", nil, vonageTakes, "/sms/json", "",
			url.Values{
				"from": {"Postern"}, "to": {"15551234567"}, "text": {text}, "api_key": {"vonage-key"}, "api_secret": {"vonage-secret"},
			},
			"0C1",
		},
		{
			"textlocal", "textlocal", "sms", nil, textLocalTakes, "/send", "",
			url.Values{"sender": {"PSTERN"}, "apikey": {"local-key"}, "message": {text}, "numbers": {"15551234567"}},
			"1151346216",
		},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			vendor := newDouble(t, 201, one.answer)
			id, err := newSender(t, one.provider, vendor.URL, one.values).Send(context.Background(), phone, one.channel, code)
			if err != nil || id != one.id {
				t.Errorf("got %q, %v, want %q", id, err, one.id)
			}
			vendor.only(t).check(t, one.path, one.authorization, one.form)
		})
	}
}

func TestVonageIsToldOfTextBeyondASCII(t *testing.T) {
	t.Parallel()
	vendor := newDouble(t, 200, vonageTakes)
	sender, err := New(Settings{Provider: "vonage", Values: credentials(), BaseURL: vendor.URL, Template: "Schlüssel: {{.Code}}"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sender.Send(context.Background(), "+"+phone, "sms", code); err != nil {
		t.Fatal(err)
	}
	vendor.only(t).check(t, "/sms/json", "", url.Values{
		"from": {"Postern"}, "to": {"15551234567"}, "text": {"Schlüssel: 987654"}, "type": {"unicode"},
		"api_key": {"vonage-key"}, "api_secret": {"vonage-secret"},
	})
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for provider, want := range map[string]string{
		"twilio":        "https://api.twilio.com/2010-04-01/Accounts/AC%2F..%3F/Messages.json",
		"twilio_verify": "https://verify.twilio.com/v2/Services/VA2/Verifications",
		"messagebird":   "https://rest.messagebird.com/messages",
		"vonage":        "https://rest.nexmo.com/sms/json",
		"textlocal":     "https://api.textlocal.in/send",
	} {
		sender := newSender(t, provider, "", map[string]config.Secret{"twilio_account_sid": "AC/..?"})
		got := ""
		vendorOf(t, sender).client.Transport = transport(func(r *http.Request) (*http.Response, error) {
			got = r.URL.String()
			return nil, errors.New("no network in tests")
		})
		if failure := failureOf(t, sender, "sms"); got != want {
			t.Errorf("got %s, want %s: %v", got, want, failure)
		}
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func vendorOf(t *testing.T, sender *Sender) *vendor {
	t.Helper()
	switch p := sender.provider.(type) {
	case *twilio:
		return p.vendor
	case *twilioVerify:
		return p.vendor
	case *messageBird:
		return p.vendor
	case *vonage:
		return p.vendor
	case *textLocal:
		return p.vendor
	}
	t.Fatal("another provider")
	return nil
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		name, answer string
		status       int
		want         bool
		err          string
	}{
		{"approved", `{"sid":"VE1","status":"approved","valid":true}`, 200, true, ""},
		{"approved, created", `{"sid":"VE1","status":"approved","valid":true}`, 201, true, ""},
		{"wrong code", `{"sid":"VE1","status":"pending","valid":false}`, 200, false, ""},
		{"approved, not valid", `{"sid":"VE1","status":"approved","valid":false}`, 200, false, ""},
		{"valid, not approved", `{"sid":"VE1","status":"canceled","valid":true}`, 200, false, ""},
		{"nothing pending", `{"code":20404,"message":"not found","more_info":"u","status":404}`, 404, false, ""},
		{
			"too often", `{"code":60202,"message":"Max check attempts reached","more_info":"https://www.twilio.com/docs/errors/60202","status":429}`,
			429, false, "Max check attempts reached More information: https://www.twilio.com/docs/errors/60202",
		},
		{"approved with another status", `{"status":"approved","valid":true}`, 202, false, "twilio error: unexpected answer with status 202"},
		{"no JSON", `approved`, 200, false, "twilio error: unexpected answer with status 200"},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			vendor := newDouble(t, one.status, one.answer)
			sender := newSender(t, "twilio_verify", vendor.URL, nil)
			got, err := sender.Check(context.Background(), phone, code)
			if got != one.want || (err == nil) != (one.err == "") || err != nil && err.Error() != one.err {
				t.Errorf("got %v, %v", got, err)
			}
			vendor.only(t).check(t, "/v2/Services/VA2/VerificationCheck", verifyAuth, url.Values{"To": {"+15551234567"}, "Code": {code}})
		})
	}
	for provider, checks := range map[string]bool{"twilio_verify": true, "twilio": false, "": false, "pigeon": false} {
		sender := newSender(t, provider, "", nil)
		if sender.ChecksCodes() != checks {
			t.Errorf("%s: checks codes %v", provider, !checks)
		}
		if checks {
			continue
		}
		if ok, err := sender.Check(context.Background(), phone, code); ok || !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: %v, %v", provider, ok, err)
		}
	}
}

func TestChannels(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{"twilio", "twilio_verify", "messagebird", "vonage", "textlocal"} {
		sender := newSender(t, provider, "http://127.0.0.1:1", nil)
		whatsApp := strings.HasPrefix(provider, "twilio")
		if got := strings.Join(sender.Channels(), " "); got != map[bool]string{true: "sms whatsapp", false: "sms"}[whatsApp] {
			t.Errorf("%s: channels %s", provider, got)
		}
		for channel, refused := range map[string]bool{"pigeon": true, "whatsapp": !whatsApp} {
			if !refused {
				continue
			}
			got := failureOf(t, sender, channel)
			if want := fmt.Sprintf("channel type %q is not supported", channel); got.Error() != want || got.Temporary {
				t.Errorf("got %v", got)
			}
		}
	}
}

func TestMissingSettings(t *testing.T) {
	t.Parallel()
	for _, one := range []struct{ provider, name string }{
		{"twilio", "twilio_account_sid"},
		{"twilio", "twilio_auth_token"},
		{"twilio", "twilio_message_service_sid"},
		{"twilio_verify", "twilio_verify_account_sid"},
		{"twilio_verify", "twilio_verify_auth_token"},
		{"twilio_verify", "twilio_verify_message_service_sid"},
		{"messagebird", "messagebird_access_key"},
		{"messagebird", "messagebird_originator"},
		{"vonage", "vonage_api_key"},
		{"vonage", "vonage_api_secret"},
		{"vonage", "vonage_from"},
		{"textlocal", "textlocal_api_key"},
		{"textlocal", "textlocal_sender"},
		{"", "provider"},
		{"pigeon", "provider"},
	} {
		sender := newSender(t, one.provider, "", map[string]config.Secret{one.name: ""})
		_, err := sender.Send(context.Background(), phone, "sms", code)
		if !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "GOTRUE_SMS_"+strings.ToUpper(one.name)+" is") {
			t.Errorf("%s without %s: %v", one.provider, one.name, err)
		}
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	for template, want := range map[string]string{
		"": text, "{{.Code}} is it & <more>": "987654 is it & <more>", `{{ printf "%s!" .Code }}`: "987654!",
	} {
		sender, err := New(Settings{Provider: "twilio", Template: template})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sender.Text(code); err != nil || got != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
	for _, template := range []string{"{{ .Code", "{{ .Token }}", "{{ nothing }}"} {
		if _, err := New(Settings{Provider: "twilio", Template: template, TemplateName: "THE_TEXT"}); err == nil || !strings.HasPrefix(err.Error(), "THE_TEXT: ") {
			t.Errorf("%q: %v", template, err)
		}
	}
	sender, err := New(Settings{Template: "{{ .Code"}) // looked at only where something could be sent
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sender.Text(code); !errors.Is(err, ErrUnusable) {
		t.Error(err)
	}
}

func TestBaseURL(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"127.0.0.1:80", "ftp://127.0.0.1", "http://", "http://user:hidden\x7f"} {
		if _, err := New(Settings{Provider: "twilio", BaseURL: base}); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", base, err)
		}
	}
	vendor := newDouble(t, 200, textLocalTakes)
	if _, err := newSender(t, "textlocal", vendor.URL+"/prefix/", nil).Send(context.Background(), phone, "sms", code); err != nil {
		t.Fatal(err)
	}
	if got := vendor.only(t).path; got != "/prefix/send" {
		t.Error(got)
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := "http://" + listener.Addr().String()
	_ = listener.Close()
	hang := doubleOf(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	drip := doubleOf(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	reset := doubleOf(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for _, one := range []struct{ name, base, want string }{
		{"refused", refusing, "vonage error: no connection"},
		{"reset", reset.URL, "vonage error: no connection"},
		{"hanging", hang.URL, "vonage error: no answer within 50ms"},
		{"answer that does not end", drip.URL, "vonage error: no answer within 50ms"},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			limit := 5 * time.Second
			if strings.HasSuffix(one.want, "50ms") {
				limit = 50 * time.Millisecond
			}
			sender, err := New(Settings{Provider: "vonage", Values: credentials(), BaseURL: one.base, Timeout: limit})
			if err != nil {
				t.Fatal(err)
			}
			got := failureOf(t, sender, "sms")
			if got.Error() != one.want || !got.Temporary || got.Unwrap() == nil {
				t.Errorf("got %v (temporary %v): %v", got, got.Temporary, got.Unwrap())
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := newSender(t, "vonage", hang.URL, nil).Send(ctx, phone, "sms", code); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestTheTimeoutOfTheContract(t *testing.T) {
	t.Parallel()
	sender, err := New(Settings{Provider: "vonage", Values: credentials()})
	if err != nil {
		t.Fatal(err)
	}
	if got := vendorOf(t, sender).timeout; got != 10*time.Second {
		t.Error(got)
	}
}

func TestSendersDoNotPrint(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{"twilio", "twilio_verify", "messagebird", "vonage", "textlocal"} {
		sender := newSender(t, provider, "", nil)
		printed := fmt.Sprintf("%v %+v %#v %v", sender, sender, *sender, Settings{Values: credentials()})
		for _, value := range credentials() {
			if strings.Contains(value.Reveal(), "-") && strings.Contains(printed, value.Reveal()) {
				t.Errorf("printed: %s", printed)
			}
		}
	}
}
