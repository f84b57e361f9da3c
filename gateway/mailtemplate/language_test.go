package mailtemplate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPreferred(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ locale, header, want string }{
		{"", "", ""},
		{"", "de-AT,de;q=0.8, en;q=0.9,*;q=0.1", "de-at en de"},
		{"pt_BR.UTF-8", "de", "pt-br de"},
		{"de", "de, fr;q=0, en;q=x, it;q=2, es;q=0.001", "de es"},
		{"C", "../etc, <b>, sr-Latn@x", "sr-latn"},
		{"{{ .Email }}", strings.Repeat("x", 5000), ""},
		{"", "a,b,c,d,e,f,g,h,i,j,k,l", "a b d e f g h i j k"},
	} {
		if got := strings.Join(Preferred(test.locale, test.header), " "); got != test.want {
			t.Errorf("Preferred(%q, %q) = %q, want %q", test.locale, test.header, got, test.want)
		}
	}
}

func TestLanguages(t *testing.T) {
	t.Parallel()
	own := func(subject, body string) map[Kind]Source {
		return map[Kind]Source{Recovery: {Subject: subject, Template: body}}
	}
	set := newSet(t, Options{
		Sources:   map[Kind]Source{Invite: {Subject: "Welcome to Example"}},
		Languages: map[string]map[Kind]Source{"fr": own("Mot de passe", "<p>fr</p>"), "pt-BR": own("", "<p>br</p>"), "pt": own("Senha", ""), "de_AT": own("Neich", "")},
	})
	for _, test := range []struct {
		kind      Kind
		languages string
		want      string // subject, then how the text begins
	}{
		{Recovery, "", "Reset your password|Reset your password"},
		{Recovery, "fr", "Mot de passe|fr"},
		{Recovery, "fr-CA de", "Mot de passe|fr"},
		{Recovery, "pt-BR", "Reset your password|br"},
		{Recovery, "pt_br", "Reset your password|br"},
		{Recovery, "pt-PT", "Senha|Reset your password"},
		{Recovery, "xx de-CH fr", "Setzen Sie Ihr Passwort zurück|Setzen Sie Ihr Passwort zurück"},
		{Recovery, "de-AT", "Neich|Setzen Sie Ihr Passwort zurück"},
		{Recovery, "en-GB fr", "Reset your password|Reset your password"},
		{Recovery, "xx zh-Hant-TW", "Reset your password|Reset your password"},
		{MagicLink, "fr", "Your sign-in link|Your sign-in link"},
		{MagicLink, "fr de", "Ihr Link zum Anmelden|Ihr Link zum Anmelden"},
		// The operator's own mail comes before a built-in translation.
		{Invite, "de", "Welcome to Example|You've been invited"},
	} {
		subject, _, text, err := set.Render(t.Context(), test.kind, strings.Fields(test.languages), Sample(test.kind))
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(text, "\n")
		if diff := cmp.Diff(test.want, subject+"|"+first); diff != "" {
			t.Errorf("%s in %q:\n%s", test.kind, test.languages, diff)
		}
	}
}

func TestDefaultLanguage(t *testing.T) {
	t.Parallel()
	set := newSet(t, Options{DefaultLanguage: "de"})
	for languages, want := range map[string]string{"": "Ihr Link zum Anmelden", "fr": "Ihr Link zum Anmelden", "de": "Ihr Link zum Anmelden", "en": "Your sign-in link"} {
		subject, _, _, err := set.Render(t.Context(), MagicLink, strings.Fields(languages), Sample(MagicLink))
		if err != nil || subject != want {
			t.Errorf("%q: %q, %v", languages, subject, err)
		}
	}
}
