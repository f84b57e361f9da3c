package mailtemplate

import (
	"strings"
	"testing"
)

// checkCase is a template and what is wrong with it, a message per mistake.
type checkCase struct {
	name, content string
	want          []string
}

func runChecks(t *testing.T, cases []checkCase) {
	t.Helper()
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := Check(Confirmation, "t.html", test.content)
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], test.want[i]) {
					t.Errorf("got %q, want %q", got[i], test.want[i])
				}
			}
		})
	}
}

func TestCheckOfVariables(t *testing.T) {
	t.Parallel()
	runChecks(t, []checkCase{
		{"plain", "<h2>Hello</h2>\n<p><a href=\"{{ .ConfirmationURL }}\">go</a></p>", nil},
		{"metadata", "<p>{{ .Data.name }} {{ .Data.address.street }} {{ with .Data }}{{ .nick }}{{ $.Email }}{{ end }}</p>", nil},
		{"range", "<ul>{{ range $k, $v := .Data }}<li>{{ $k }} {{ $v }} {{ .x }}</li>{{ else }}<li>none</li>{{ end }}</ul>", nil},
		{"no HTML", "Your code: {{ .Token }}", nil},
		{"unknown variable", "<p>\n{{ .Tokn }}</p>", []string{"t.html:2: unknown variable .Tokn"}},
		{
			"two unknown variables, in order", "{{ .B }}\n\n{{ if .Email }}{{ $.A }}{{ end }}",
			[]string{"t.html:1: unknown variable .B", "t.html:3: unknown variable .A"},
		},
		{"unknown in a condition", "{{ if .Admin }}x{{ end }}", []string{"t.html:1: unknown variable .Admin"}},
		{"unknown in an argument", `{{ printf "%s" (index .Dat "x") }}`, []string{"t.html:1: unknown variable .Dat"}},
		{"unknown in a definition", "{{ define \"x\" }}\n{{ .Foo }}{{ end }}{{ template \"x\" . }}", []string{"t.html:2: unknown variable .Foo"}},
		{"unknown after trimming", "<p>a</p>\n\n{{- /* c */ -}}\n\n\n{{ .Foo }}", []string{"t.html:6: unknown variable .Foo"}},
		{"field of a text", "{{ .Email.Domain }}", []string{"t.html:1: .Email is a text and has no .Domain"}},
		{"not in this mail", "<p>{{ .NewEmail }}</p>", []string{"t.html:1: .NewEmail is always empty in this mail"}},
		{"not in this mail, behind its condition", "{{ if .NewEmail }}{{ .NewEmail }}{{ else }}{{ .Email }}{{ end }}{{ or .NewEmail .Email }}", nil},
		{"unknown function", "\n{{ upper .Email }}", []string{`t.html:2: function "upper" not defined`}},
		{"unfinished action", "a\n{{ .Email ", []string{"t.html:2: unclosed action"}},
		{"missing end", "{{ if .Email }}a\n", []string{"t.html:2: unexpected EOF"}},
		{"empty", " \n", []string{"t.html:1: empty"}},
		{"only definitions", `{{ define "x" }}a{{ end }}`, []string{"t.html:1: empty"}},
		{"not UTF-8", "a\xff", []string{"t.html:1: not UTF-8"}},
	})
}

func TestCheckOfHTML(t *testing.T) {
	t.Parallel()
	runChecks(t, []checkCase{
		{"unclosed tag", "<p>\n<b>a</p>", []string{"t.html:2: </p> comes before <b> is closed"}},
		{"unclosed at the end", "<p>a</p>\n<div><p>b", []string{"t.html:2: <div> is never closed"}},
		{"misnested", "<b><i>a</b></i>", []string{"t.html:1: </b> comes before <i> is closed"}},
		{"closes nothing", "a\n\n</div>", []string{"t.html:3: </div> closes nothing"}},
		{"no end of the tag", "<p>\n<a href=\"x\"\n<b>a</b>", []string{"t.html:2: tag <a has no >"}},
		{"no end of the end tag", "<p>a</p", []string{"t.html:1: tag </p has no >"}},
		{"quote never closed", "<p>\n<a href=\"x>a</a>", []string{"t.html:2: the value of href in tag <a> has no closing quote"}},
		{"quote closed too late", "<a href=\"x>a</a>\n<b class=\"y\">b</b>", []string{"t.html:1: tag <a> has a quote too many or too few"}},
		{"comment never closed", "a\n<!-- x", []string{"t.html:2: comment is not closed"}},
		{"style never closed", "<style>p {}", []string{"t.html:1: <style> is never closed"}},
		{"br with an end", "<br></br>", []string{"t.html:1: <br> has no end tag"}},
		{"after values", "{{ .Email }}{{ .Email }}\n{{ .Email }}</i>", []string{"t.html:2: </i> closes nothing"}},
		{"values within quotes", `<p style="color: {{ .Data.color }}"><a href='{{ .SiteURL }}?x={{ .Token }}'>x</a></p>`, nil},
		{"what may be left out", "<table><tr><td>a<td>b<tr><td>c</table><ul><li>a<li>b</ul><p>a<p>b<br><img src=x><hr/>", nil},
		{"a whole document", "<!DOCTYPE html>\n<html><head><title>a < b</title><style>a > b { }</style></head><body><p>x</p></body></html>", nil},
		{"exported from a mail builder", "<!--[if mso]><table><tr><td><![endif]--><!--[if !mso]><!--><div><!--<![endif]--></div><o:p></o:p><v:rect/>", nil},
		{"less than", "1 < 2 & 3 <4", nil},
	})
}

func TestCheckOfBranches(t *testing.T) {
	t.Parallel()
	runChecks(t, []checkCase{
		{"branches close the same", "{{ if .Email }}<b>{{ else }}<b class=\"x\">{{ end }}a</b>", nil},
		{"opened and closed under one condition", "{{ if .Data.x }}<b>{{ end }}a{{ if .Data.x }}</b>{{ end }}", nil},
		{"only one branch opens", "a\n{{ if .Data.x }}<b>{{ end }}a", []string{"t.html:2: <b> is never closed"}},
		{"only one branch closes", "<b>\n{{ if .Data.x }}</b>{{ end }}a", []string{"t.html:1: <b> is never closed"}},
		{"mistake in a rare branch", "{{ if .Data.a }}{{ else if .Data.b }}\n</b>{{ end }}", []string{"t.html:2: </b> closes nothing"}},
		{
			"mistake behind many conditions", strings.Repeat("{{ if .Data.a }}{{ end }}", 3) +
				"{{ if .Data.b }}{{ end }}{{ if .Data.c }}{{ end }}{{ if .Data.d }}{{ end }}{{ if .Data.e }}{{ end }}{{ if .Data.f }}</b>{{ end }}",
			[]string{"t.html:1: </b> closes nothing"},
		},
		{"in a definition", "{{ define \"x\" }}\n\n<b>{{ end }}<p>{{ template \"x\" . }}</p>", []string{"t.html:3: </p> comes before <b> is closed"}},
		{"calls itself", `{{ define "x" }}<b>{{ if .Email }}{{ template "x" . }}{{ end }}</b>{{ end }}{{ template "x" . }}`, nil},
		{"contexts that differ", "<p>a</p>\n<p {{ if .Email }}title=\"{{ end }}x\">a</p>", []string{"t.html:2: "}},
	})
}

// Every variable is accepted where core.md 9.2 has it.
func TestVariablesPerKind(t *testing.T) {
	t.Parallel()
	for kind, names := range map[Kind]string{
		Confirmation: "SiteURL ConfirmationURL Email Token TokenHash RedirectTo Data", Invite: "ConfirmationURL", Recovery: "TokenHash",
		MagicLink: "RedirectTo", EmailChange: "SiteURL ConfirmationURL Email NewEmail SendingTo Token TokenHash RedirectTo Data",
		Reauthentication: "SiteURL Email Token Data", PasswordChanged: "SiteURL Email Data", EmailChanged: "OldEmail Email",
		PhoneChanged: "OldPhone Phone Email", IdentityLinked: "Provider Email", IdentityUnlinked: "Provider", MFAFactorEnrolled: "FactorType",
		MFAFactorUnenrolled: "FactorType",
	} {
		for name := range strings.FieldsSeq(names) {
			if err := Check(kind, "t", "{{ ."+name+" }}"); err != nil {
				t.Errorf("%s in %s: %v", name, kind, err)
			}
		}
	}
	if Check(Reauthentication, "t", "{{ .ConfirmationURL }}") == nil {
		t.Error("a link in a mail that has none")
	}
}

// Whatever is in a template, checking it and making a text of it ends.
func FuzzHTML(f *testing.F) {
	for _, seed := range []string{"<a b='c' d>x</a>", "<!-- -->", "<style></styl", "<a =\">", "</", "<a/ / >", "<!-->", "<td", "&amp;<li><br><br>", "\ufffc<p hidden>"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, doc string) {
		_ = balance(doc)
		_ = plain(doc)
		_ = Check(Confirmation, "t", doc)
	})
}
