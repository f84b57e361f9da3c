package mailtemplate

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// Every built-in mail, as it leaves: go test ./gateway/mailtemplate -update writes them.
func TestGolden(t *testing.T) {
	t.Parallel()
	set := newSet(t, Options{SiteURL: "https://app.example.com"})
	for _, language := range []string{"en", "de"} {
		for _, kind := range Kinds() {
			t.Run(language+"/"+string(kind), func(t *testing.T) {
				t.Parallel()
				subject, html, text, err := set.Render(t.Context(), kind, []string{language}, Sample(kind))
				if err != nil {
					t.Fatal(err)
				}
				got := "Subject: " + subject + "\n\n" + html + "\n--- text ---\n" + text + "\n"
				for _, odd := range []string{"ZgotmplZ", "no value", "{{"} {
					if strings.Contains(got, odd) {
						t.Errorf("%s in the mail", odd)
					}
				}
				path := filepath.Join("testdata", language, string(kind)+".golden")
				if *update {
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// The subjects of core.md 9.1.
func TestDefaultSubjects(t *testing.T) {
	t.Parallel()
	set := newSet(t, Options{})
	want := map[Kind]string{
		Confirmation: "Confirm your email address", Invite: "You've been invited", Recovery: "Reset your password",
		MagicLink: "Your sign-in link", EmailChange: "Confirm your new email address", Reauthentication: "493817 is your verification code",
		PasswordChanged: "Your password was changed", EmailChanged: "Your email address was changed",
		PhoneChanged: "Your phone number was changed", IdentityLinked: "A new sign-in method was linked to your account",
		IdentityUnlinked: "A sign-in method was removed from your account", MFAFactorEnrolled: "A new verification method was added to your account",
		MFAFactorUnenrolled: "A verification method was removed from your account",
	}
	got := map[Kind]string{}
	for _, kind := range Kinds() {
		subject, _, text, err := set.Render(t.Context(), kind, nil, Sample(kind))
		if err != nil {
			t.Fatal(err)
		}
		got[kind] = subject
		// The first five hold the link and not the code (core.md 9.1).
		d := Sample(kind)
		linked := d.ConfirmationURL != ""
		if linked != strings.Contains(text, "("+d.ConfirmationURL+")") || linked && strings.Contains(text, d.Token) {
			t.Errorf("%s:\n%s", kind, text)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subjects (-want +got):\n%s", diff)
	}
}
