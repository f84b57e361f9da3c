package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/postern-auth/postern/gateway"
	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/mailtemplate"
)

// mailCommand is `postern mail`: what mails look like.
func mailCommand(environ []string) *cli.Command {
	return &cli.Command{
		Name:  "mail",
		Usage: "see what mails look like",
		Description: `Mails come from the built-in templates, or from GOTRUE_MAILER_SUBJECTS_…, GOTRUE_MAILER_TEMPLATES_… and
POSTERN_TEMPLATES_DIR of the environment.

Examples:
   postern mail preview confirmation --out confirmation.html`,
		Subcommands: []*cli.Command{mailPreviewCommand(environ)},
	}
}

func mailPreviewCommand(environ []string) *cli.Command {
	var kinds []string
	for _, kind := range mailtemplate.Kinds() {
		kinds = append(kinds, string(kind))
	}
	return &cli.Command{
		Name:      "preview",
		Usage:     "render a mail with made-up data",
		ArgsUsage: "KIND",
		Description: "Prints the HTML of a mail as the gateway would send it, or writes it to a file for the browser; the subject goes to\n" +
			"standard error. Nothing is sent, and no database is needed. A mistake in a template is an error that names file\nand line.\n\n" +
			"Kinds:\n   " + strings.Join(kinds, "\n   ") + "\n\nExamples:\n" +
			"   postern mail preview confirmation --out confirmation.html\n" +
			"   postern mail preview recovery --language de --text\n" +
			"   GOTRUE_MAILER_TEMPLATES_INVITE=file:invite.html postern mail preview invite",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "language", Usage: "for a reader of this `LANGUAGE`, such as de or pt-BR"},
			&cli.StringFlag{Name: "out", Usage: "write to this `FILE` instead of standard output"},
			&cli.BoolFlag{Name: "text", Usage: "the part for readers without HTML"},
		},
		Action: func(c *cli.Context) error {
			kind, err := oneArgument(c)
			if err != nil {
				return err
			}
			if !slices.Contains(kinds, kind) {
				return fmt.Errorf("mail preview: KIND %q is none of %s", kind, strings.Join(kinds, ", "))
			}
			return previewMail(c, environ, mailtemplate.Kind(kind))
		},
	}
}

func previewMail(c *cli.Context, environ []string, kind mailtemplate.Kind) error {
	cfg, err := config.Load(withoutDatabase(environ))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(c.App.ErrWriter, &slog.HandlerOptions{Level: slog.LevelWarn}))
	templates, err := gateway.MailTemplates(cfg, log)
	if err != nil {
		return err
	}
	data := mailtemplate.Sample(kind)
	if siteURL, ok := cfg.Policy["site_url"].(string); ok && siteURL != "" {
		data.SiteURL = siteURL
	}
	var languages []string
	if language := c.String("language"); language != "" {
		if languages = mailtemplate.Preferred(language, ""); len(languages) == 0 {
			return fmt.Errorf("--language: %q is not a language such as de or pt-BR", language)
		}
	}
	subject, body, text, err := templates.Render(c.Context, kind, languages, data)
	if err != nil {
		return err
	}
	if c.Bool("text") {
		body = text
	}
	if _, err := fmt.Fprintln(c.App.ErrWriter, "Subject: "+subject); err != nil {
		return err
	}
	if out := c.String("out"); out != "" {
		return os.WriteFile(out, []byte(body), 0o600)
	}
	_, err = io.WriteString(c.App.Writer, strings.TrimRight(body, "\n")+"\n")
	return err
}

// withoutDatabase adds what a gateway needs and a preview does not, where the environment lacks it.
func withoutDatabase(environ []string) []string {
	return append([]string{
		"DATABASE_URL=postgres:///unused", "GOTRUE_JWT_SECRET=not-used-for-anything-in-a-preview-of-a-mail",
		"API_EXTERNAL_URL=https://auth.example.com", "GOTRUE_SITE_URL=https://app.example.com",
	}, environ...)
}
