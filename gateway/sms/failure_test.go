package sms

import (
	"net/http"
	"strings"
	"testing"
)

func TestFailures(t *testing.T) {
	t.Parallel()
	const (
		twilioRefuses = `{"code":21211,"message":"The 'To' number +1555 is not a valid phone number.",` +
			`"more_info":"https://www.twilio.com/docs/errors/21211","status":400}`
		twilioSays = "The 'To' number +1555 is not a valid phone number. More information: https://www.twilio.com/docs/errors/21211"
		birdSays   = "Request not allowed (incorrect access_key)"
		birdError  = `{"errors":[{"code":2,"description":"` + birdSays + `","parameter":"access_key"},{"description":"more"}]}`
		odd        = " error: unexpected answer with status "
	)
	big := `{"pad":"` + strings.Repeat("x", longestAnswer) + `"}`
	for _, one := range []struct {
		provider  string
		status    int
		answer    string
		want      string
		temporary bool
	}{
		{"twilio", 400, twilioRefuses, twilioSays, false},
		{"twilio", 202, twilioRefuses, twilioSays, false},
		{"twilio", 429, twilioRefuses, twilioSays, true},
		{"twilio", 500, twilioRefuses, twilioSays, true},
		{"twilio", 400, `{}`, "twilio" + odd + "400", false},
		{"twilio", 502, `<html>Bad gateway</html>`, "twilio" + odd + "502", true},
		{"twilio", 200, `[]`, "twilio" + odd + "200", false},
		{"twilio", 307, ``, "twilio" + odd + "307", false},
		{"twilio", 200, big, "twilio error: an answer of more than 204800 bytes", false},
		{
			"twilio", 201, `{"sid":"SM1","status":"failed","error_code":"30003","error_message":"Unreachable"}`,
			"twilio error: Unreachable 30003 for message SM1", false,
		},
		{
			"twilio", 200, `{"sid":"SM1","status":"undelivered","error_code":30003,"error_message":"Unreachable"}`,
			"twilio error: Unreachable 30003 for message SM1", false,
		},
		{"twilio", 200, `{"sid":"SM1","status":"failed","error_code":null,"error_message":null}`, "twilio error:   for message SM1", false},
		{"twilio_verify", 400, twilioRefuses, twilioSays, false},
		{"twilio_verify", 503, ``, "twilio" + odd + "503", true},
		{
			"twilio_verify", 201, `{"sid":"VE1","status":"failed","error_code":60200,"error_message":"Invalid"}`,
			"twilio error: Invalid 60200 for message VE1", false,
		},
		{"messagebird", 400, birdError, birdSays, false},
		{"messagebird", 401, birdError, birdSays, false},
		{"messagebird", 403, birdError, birdSays, false},
		{"messagebird", 422, birdError, birdSays, false},
		{"messagebird", 500, birdError, birdSays, true},
		{"messagebird", 422, `{"errors":[]}`, "messagebird" + odd + "422", false},
		{"messagebird", 503, `busy`, "messagebird" + odd + "503", true},
		{"messagebird", 201, `{"id":"b1","recipients":{"totalSentCount":0}}`, "messagebird error: total sent count is 0", false},
		{"messagebird", 200, `{}`, "messagebird error: total sent count is 0", false},
		{"messagebird", 200, `fine`, "messagebird" + odd + "200", false},
		{
			"vonage", 200, `{"messages":[{"message-id":"0C1","status":"4","error-text":"Bad Credentials"}]}`,
			"vonage error: Bad Credentials (status: 4) for message 0C1", false,
		},
		{
			"vonage", 401, `{"messages":[{"status":4,"error-text":"Bad Credentials"}]}`,
			"vonage error: Bad Credentials (status: 4) for message ", false,
		},
		{"vonage", 200, `{"messages":[{"status":"1","error-text":"Throttled"}]}`, "vonage error: Throttled (status: 1) for message ", true},
		{"vonage", 200, `{"messages":[]}`, "vonage error: Internal Error", false},
		{"vonage", 200, `{}`, "vonage error: Internal Error", false},
		{"vonage", 500, `{}`, "vonage error: Internal Error", true},
		{"vonage", 502, ``, "vonage" + odd + "502", true},
		{
			"textlocal", 200, `{"errors":[{"code":3,"message":"Invalid login details"}],"status":"failure"}`,
			"textlocal error: Invalid login details (code: 3) message ", false,
		},
		{
			"textlocal", 200, `{"errors":[{"code":"7","message":"Insufficient credits"}],"messages":[{"id":"m1"}],"status":"failure"}`,
			"textlocal error: Insufficient credits (code: 7) message m1", false,
		},
		{
			"textlocal", 200, `{"errors":[{"code":80,"message":"Invalid template"}],"status":"failure"}`,
			"textlocal error: Invalid template (code: 80) template message: Your code is ***", false,
		},
		{"textlocal", 200, `{"status":"failure"}`, "textlocal" + odd + "200", false},
		{"textlocal", 500, `{"status":"failure","errors":null}`, "textlocal" + odd + "500", true},
		{"textlocal", 200, `no`, "textlocal" + odd + "200", false},
	} {
		t.Run(one.provider+" "+one.want, func(t *testing.T) {
			t.Parallel()
			got := failureOf(t, newSender(t, one.provider, newDouble(t, one.status, one.answer).URL, nil), "sms")
			if got.Error() != one.want || got.Temporary != one.temporary {
				t.Errorf("got %q (temporary %v)", got.Error(), got.Temporary)
			}
		})
	}
}

func TestVonageIgnoresTheStatusOfHTTP(t *testing.T) {
	t.Parallel()
	vendor := newDouble(t, 500, vonageTakes)
	if id, err := newSender(t, "vonage", vendor.URL, nil).Send(t.Context(), phone, "sms", code); err != nil || id != "0C1" {
		t.Errorf("got %q, %v", id, err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := newDouble(t, 200, vonageTakes)
	vendor := doubleOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	got := failureOf(t, newSender(t, "vonage", vendor.URL, nil), "sms")
	if got.Error() != "vonage error: unexpected answer with status 307" || len(elsewhere.calls) != 0 {
		t.Errorf("got %v, %d calls", got, len(elsewhere.calls))
	}
}

func TestVendorsWordsAreMadeFitToShow(t *testing.T) {
	t.Parallel()
	vendor := newDouble(t, 400, `{"message":"987654\u0000 twilio-token`+"\xff"+strings.Repeat("é", 2000)+`"}`)
	got := failureOf(t, newSender(t, "twilio", vendor.URL, nil), "sms").Error()
	if !strings.HasPrefix(got, "***  ***\uFFFDéé") || len([]rune(got)) != 1000 {
		t.Errorf("got %d characters: %.40q", len([]rune(got)), got)
	}
}
