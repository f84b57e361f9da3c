package http_test

import (
	"net/http"
	"strings"
	"testing"
)

// Addresses that cannot receive mail are refused before anything is stored; no test asks a name server.
func TestAddressesThatCannotReceiveMail(t *testing.T) {
	t.Parallel()
	service := newDouble(t, `{"valid": true}`)
	confirm := []string{"GOTRUE_MAILER_AUTOCONFIRM=false", "GOTRUE_RATE_LIMIT_EMAIL_SENT=1000"}
	s := start(t, append(confirm, "GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED=true", "GOTRUE_MAILER_EMAIL_VALIDATION_SERVICE_URL="+service.URL,
		`GOTRUE_MAILER_EMAIL_VALIDATION_SERVICE_HEADERS={"X-Key": ["service-key"]}`)...)
	me, admin := s.member("someone.real@gmail.com"), s.serviceRole()
	requests := func(address string) map[string]call {
		body := func(more string) string { return `{"email": "` + address + `"` + more + `}` }
		return map[string]call{
			"/signup":    {Method: "POST", Path: "/signup", Body: body(`, "password": "correct horse"`)},
			"/recover":   {Method: "POST", Path: "/recover", Body: body("")},
			"/otp":       {Method: "POST", Path: "/otp", Body: body("")},
			"/magiclink": {Method: "POST", Path: "/magiclink", Body: body("")},
			"/resend":    {Method: "POST", Path: "/resend", Body: body(`, "type": "signup"`)},
			"/user":      {Method: "PUT", Path: "/user", Body: body(""), Bearer: me.Access},
			"/invite":    {Method: "POST", Path: "/invite", Body: body(""), Bearer: admin},
		}
	}
	accounts := func() string { return s.one(`select count(*) from auth.users`) }
	for _, address := range []string{"Test@Gmail.com", "ada@example.com", "ada@localhost", "short@gmail.com"} {
		for path, request := range requests(address) {
			a := s.do(request)
			if a.Status != 400 || a.text("error_code") != "email_address_invalid" ||
				a.text("msg") != `Email address "`+strings.ToLower(address)+`" is invalid` {
				t.Errorf("%s %s: %d %s", path, address, a.Status, a.Raw)
			}
		}
	}
	if asked := service.took(); len(asked) != 0 || accounts() != "1" {
		t.Errorf("%d questions, %s accounts", len(asked), accounts())
	}

	// What the service says counts as well; what it cannot say does not.
	service.answer(200, `{"valid": false}`)
	for path, request := range requests("somebody.new@gmail.com") {
		if a := s.do(request); a.Status != 400 || a.text("error_code") != "email_address_invalid" {
			t.Errorf("%s: %d %s", path, a.Status, a.Raw)
		}
	}
	asked := service.took()
	if len(asked) != 7 || asked[0].Header.Get("X-Key") != "service-key" || strings.Contains(s.Log.String(), "service-key") {
		t.Errorf("%d questions, first %v", len(asked), asked[:1])
	}
	service.answer(500, `{"valid": false}`)
	s.do(requests("somebody.new@gmail.com")["/signup"]).want(200)

	// What is no address is refused as ever, and a weak password before the address.
	for path, message := range map[string]string{
		"/signup": "Unable to validate email address: invalid format", "/recover": "Unable to validate email address: invalid format",
	} {
		if a := s.do(requests("no address")[path]).refused(400, "validation_failed"); a.text("msg") != message {
			t.Errorf("%s: %s", path, a.Raw)
		}
	}
	s.post("/signup", `{"email": "ada@example.com", "password": "x"}`, "").refused(http.StatusUnprocessableEntity, "weak_password")
}

func TestAddressesAreNotJudgedWithoutMail(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED=true")
	me := s.post("/signup", `{"email": "ada@example.com", "password": "correct horse"}`, "").want(200).session()
	s.put("/user", `{"email": "bob@example.com"}`, me.Access).want(200)
	// A mail would go out here, unless a hook sends it.
	s.post("/recover", `{"email": "bob@example.com"}`, "").refused(400, "email_address_invalid")
}

func TestRefusedAddressesCount(t *testing.T) {
	t.Parallel()
	s := start(t, limitOn, "GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED=true")
	request := call{Method: "POST", Path: "/recover", Body: `{"email": "ada@example.com"}`}.from("a")
	for range 30 {
		s.do(request).refused(400, "email_address_invalid")
	}
	s.do(request).refusedByLimit()
	if got, texts := s.statements(func() { s.do(request) }); got != 1 {
		t.Errorf("%d statements:\n%s", got, strings.Join(texts, "\n"))
	}
}
