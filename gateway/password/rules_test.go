package password

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRules(t *testing.T) {
	t.Parallel()
	groups := []string{"abc", "012", "", ":!"}
	const characters = "Password should contain at least one character of each: abc, 012, :!."
	for _, c := range []struct {
		rules    Rules
		password string
		want     *Weakness
	}{
		{Rules{}, "sixsix", nil},
		{Rules{}, "fives", &Weakness{"Password should be at least 6 characters.", []string{"length"}}},
		{Rules{MinLength: 3}, "", &Weakness{"Password should be at least 6 characters.", []string{"length"}}},
		{Rules{MinLength: 8}, "1234567", &Weakness{"Password should be at least 8 characters.", []string{"length"}}},
		{Rules{MinLength: 8}, "éééé", nil}, // bytes count
		{Rules{MinLength: 6, RequiredCharacters: []string{"abc", "012", ":!"}}, "a0:xxx", nil},
		{Rules{MinLength: 6, RequiredCharacters: []string{"abc", "012", ":!"}}, "a0xxxx", &Weakness{characters, []string{"characters"}}},
		{Rules{MinLength: 6, RequiredCharacters: []string{"abc", "012", ":!"}}, "x", &Weakness{
			"Password should be at least 6 characters. " + characters, []string{"length", "characters"},
		}},
		{Rules{RequiredCharacters: groups[2:3]}, "xxxxxx", nil},
	} {
		if diff := cmp.Diff(c.want, c.rules.Check(c.password)); diff != "" {
			t.Errorf("%+v %q: %s", c.rules, c.password, diff)
		}
	}
}
