package http_test

import (
	"net/http"
	"testing"
	"time"
)

func TestTwoGatewaysServeOneDatabase(t *testing.T) {
	t.Parallel()
	one := start(t, reuseInterval+"0")
	two := startOn(t, one.db, reuseInterval+"0")
	ada := one.newcomer("ada@example.com")
	other := one.enter("ada@example.com")
	second := two.renew(ada.Refresh).want(http.StatusOK).text("refresh_token")
	third := one.renew(second).want(http.StatusOK).text("refresh_token")
	if got := two.renew(second).want(http.StatusOK).text("refresh_token"); got != third {
		t.Error("the gateways do not agree on the current token")
	}

	calls := make([]call, 25)
	for i := range calls {
		calls[i] = renewal(other.Refresh)
	}
	answers := make(chan []*answer, 2)
	for _, s := range []*server{one, two} {
		go func() { answers <- s.atOnce(calls...) }()
	}
	for range 2 {
		for _, a := range <-answers {
			if a.Status != http.StatusOK || a.text("refresh_token") != mintRefresh(t, other.ID, 1) {
				t.Errorf("concurrent refresh: %d %s", a.Status, a.Raw)
			}
		}
	}

	one.post("/logout", nil, ada.Access).want(http.StatusNoContent)
	two.get("/user", ada.Access).refused(403, "session_not_found")
	two.renew(third).refused(400, "refresh_token_not_found")
}

func TestLimitsHoldAcrossGateways(t *testing.T) {
	t.Parallel()
	one := start(t, "GOTRUE_RATE_LIMIT_HEADER=X-Client", "GOTRUE_RATE_LIMIT_TOKEN_REFRESH=1")
	two := startOn(t, one.db, "GOTRUE_RATE_LIMIT_HEADER=X-Client", "GOTRUE_RATE_LIMIT_TOKEN_REFRESH=1")
	c := renewal(one.newcomer("ada@example.com").Refresh)
	c.Header = map[string]string{"X-Client": "198.51.100.7"}
	for range 15 { // thirty in all, the burst
		one.do(c).want(http.StatusOK)
		two.do(c).want(http.StatusOK)
	}
	for _, s := range []*server{one, two} {
		a := s.do(c).refused(429, "over_request_rate_limit")
		wantRetryAfter(t, a)
	}
	c.Header = map[string]string{"X-Client": "198.51.100.8"}
	two.do(c).want(http.StatusOK)
}

// TestSettingsChangedWithPsqlReachGatewaysWithinFiveSeconds looks at what idle gateways answer from their copy.
func TestSettingsChangedWithPsqlReachGatewaysWithinFiveSeconds(t *testing.T) {
	t.Parallel()
	one := start(t)
	two := startOn(t, one.db)
	changed := time.Now()
	one.exec(`update auth.settings set disable_signup = true`)
	for _, s := range []*server{one, two} {
		s.eventually("the gateway shows the change", func() bool { return s.get("/settings", "").at("disable_signup") == true })
	}
	if took := time.Since(changed); took > 6*time.Second {
		t.Errorf("an idle gateway took %s", took)
	}
}

// TestPasswordRulesChangedWithPsqlReachGateways changes what the gateway judges itself: any answer from the database tells it.
func TestPasswordRulesChangedWithPsqlReachGateways(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	changed := time.Now()
	s.exec(`update auth.settings set password_min_length = 40`)
	s.get("/user", ada.Access).want(http.StatusOK)
	s.renew(ada.Refresh).want(http.StatusOK)
	var last *answer
	s.eventually("the new rule", func() bool {
		last = s.put("/user", map[string]any{"password": goodPassword}, ada.Access)
		return last.text("error_code") == "weak_password"
	})
	if took := time.Since(changed); took > 6*time.Second {
		t.Errorf("the rule took %s", took)
	}
	if last.Status != 422 || last.text("msg") != "Password should be at least 40 characters." {
		t.Errorf("answer: %d %s", last.Status, last.Raw)
	}
}

func TestEnvironmentAndPsqlShareTheSettings(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_JWT_EXP=600")
	s.exec(`update auth.settings set jwt_exp = 60, password_min_length = 9`)
	// The same environment again changes nothing that psql set since.
	startOn(t, s.db, "GOTRUE_JWT_EXP=600")
	if got := s.one(`select jwt_exp || ' ' || password_min_length from auth.settings`); got != "60 9" {
		t.Errorf("jwt_exp and password_min_length are %s, want 60 9", got)
	}
	startOn(t, s.db, "GOTRUE_JWT_EXP=700", "GOTRUE_PASSWORD_MIN_LENGTH=10")
	if got := s.one(`select jwt_exp || ' ' || password_min_length from auth.settings`); got != "700 10" {
		t.Errorf("jwt_exp and password_min_length are %s, want 700 10", got)
	}
	// Dropped variables return to the default.
	startOn(t, s.db, "-GOTRUE_JWT_EXP")
	if got := s.one(`select jwt_exp || ' ' || password_min_length from auth.settings`); got != "3600 6" {
		t.Errorf("jwt_exp and password_min_length are %s, want 3600 6", got)
	}
}
