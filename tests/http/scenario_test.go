package http_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Scenario is one request and everything it must bring about. Texts of Request and WantBody may name a value of Given as
// {name}.
type Scenario struct {
	Name string
	// Env are variables on top of environment().
	Env []string
	// Given prepares the database and returns values by name. SQL is run as superuser before it.
	Given func(s *server) values
	SQL   string
	// Request is sent at the root for every other scenario of a table, and below /auth/v1 for the rest.
	Request    call
	WantStatus int
	// WantBody is JSON that the answer must hold: objects may have more members unless Exact, lists may not. "<uuid>",
	// "<time>", "<text>", "<number>", "<any>" and "<none>" (no such member) stand for values that differ each time.
	WantBody string
	Exact    bool
	// WantHeader are headers that the answer must have; "" means that it must not, "<any>" that it must have some.
	WantHeader map[string]string
	// WantStatements is the number of statements that the request may cost; none is given as -1, 0 is not checked.
	WantStatements int
	// WantAudit are the actions added to the audit log, oldest first; nil is not checked.
	WantAudit []string
	// Then looks at what else must hold afterwards.
	Then func(s *server, a *answer, v values)
}

// values are what Given made, by name.
type values map[string]string

// in puts values into a text.
func (v values) in(text string) string {
	for name, value := range v {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

// of is the values of a session: access, refresh, user, session.
func of(me session) values {
	return values{"access": me.Access, "refresh": me.Refresh, "user": me.UserID, "session": me.ID}
}

// run runs each scenario on a database of its own.
func run(t *testing.T, scenarios []Scenario) {
	t.Helper()
	for i, scenario := range scenarios {
		t.Run(scenario.Name, func(t *testing.T) {
			t.Parallel()
			scenario.run(t, []string{"", "/auth/v1"}[i%2])
		})
	}
}

func (c Scenario) run(t *testing.T, prefix string) {
	t.Helper()
	s := start(t, c.Env...)
	if c.SQL != "" {
		s.exec(c.SQL)
	}
	given := values{"admin": s.serviceRole(), "url": s.URL}
	if c.Given != nil {
		maps.Copy(given, c.Given(s))
	}
	before := len(s.audit())
	var a *answer
	send := func() { a = s.do(c.Request.with(given, prefix)) }
	if c.WantStatements != 0 {
		if got, texts := s.statements(send); got != max(0, c.WantStatements) {
			t.Errorf("%d statements, want %d:\n%s", got, max(0, c.WantStatements), strings.Join(texts, "\n"))
		}
	} else {
		send()
	}
	a.want(c.WantStatus)
	if c.WantBody != "" {
		a.holds(given.in(c.WantBody), c.Exact)
	}
	a.headers(c.WantHeader)
	if c.WantAudit != nil {
		if got := s.audit()[before:]; !slices.Equal(got, c.WantAudit) {
			t.Errorf("audit log: %v, want %v", got, c.WantAudit)
		}
	}
	if c.Then != nil {
		c.Then(s, a, given)
	}
}

// with puts values into a request.
func (c call) with(v values, prefix string) call {
	c.Path = prefix + v.in(c.Path)
	c.Bearer = v.in(c.Bearer)
	switch body := c.Body.(type) {
	case nil:
	case string:
		c.Body = v.in(body)
	case []byte:
	default:
		raw, _ := json.Marshal(body) // send reports what is no JSON
		c.Body = v.in(string(raw))
	}
	header := map[string]string{}
	for name, value := range c.Header {
		header[name] = v.in(value)
	}
	c.Header = header
	return c
}

// headers checks headers as WantHeader says.
func (a *answer) headers(want map[string]string) {
	a.t.Helper()
	for name, value := range want {
		switch got := strings.Join(a.Header.Values(name), " | "); {
		case value == "<any>" && got == "", value != "<any>" && got != value:
			a.t.Errorf("%s %s: header %s is %q, want %q", a.call.Method, a.call.Path, name, got, value)
		}
	}
}

// holds checks the body as WantBody says.
func (a *answer) holds(want string, exact bool) {
	a.t.Helper()
	var wanted any
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		a.t.Fatalf("the wanted body is not JSON: %v: %s", err, want)
	}
	if found := differences("", wanted, a.json(), exact); len(found) > 0 {
		a.t.Errorf("%s %s: %s\nthe body: %s", a.call.Method, a.call.Path, strings.Join(found, "\n"), a.Raw)
	}
}

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// differences lists where got is not what is wanted.
func differences(path string, want, got any, exact bool) []string {
	wrong := func() []string {
		raw, _ := json.Marshal(got) // it came from JSON
		wanted, _ := json.Marshal(want)
		return []string{fmt.Sprintf("%s is %s, want %s", strings.TrimPrefix(path, "."), raw, wanted)}
	}
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return wrong()
		}
		return memberDifferences(path, want, object, exact)
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return wrong()
		}
		var out []string
		for i := range want {
			out = append(out, differences(fmt.Sprint(path, ".", i), want[i], list[i], exact)...)
		}
		return out
	case string:
		if !matches(want, got) {
			return wrong()
		}
	default:
		if want != got {
			return wrong()
		}
	}
	return nil
}

func memberDifferences(path string, want, got map[string]any, exact bool) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		value, there := got[name]
		switch {
		case want[name] == "<none>" && there:
			out = append(out, fmt.Sprintf("%s.%s is there", path, name))
		case want[name] == "<none>":
		case !there:
			out = append(out, fmt.Sprintf("%s.%s is missing", path, name))
		default:
			out = append(out, differences(path+"."+name, want[name], value, exact)...)
		}
	}
	if exact {
		for _, name := range slices.Sorted(maps.Keys(got)) {
			if _, wanted := want[name]; !wanted {
				out = append(out, fmt.Sprintf("%s.%s is there and not wanted", path, name))
			}
		}
	}
	return out
}

// matches compares a value with a wanted text, which may be one of the placeholders.
func matches(want string, got any) bool {
	text, isText := got.(string)
	_, isNumber := got.(float64)
	switch want {
	case "<any>":
		return true
	case "<text>":
		return isText && text != ""
	case "<number>":
		return isNumber
	case "<uuid>":
		return isText && uuidPattern.MatchString(text)
	case "<time>":
		_, err := time.Parse(time.RFC3339Nano, text)
		return isText && err == nil && strings.HasSuffix(text, "Z")
	}
	return isText && text == want
}
