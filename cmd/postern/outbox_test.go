package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-auth/postern/tests/pgtest"
)

// Mails in every state, by id.
const (
	waitingMail = "00000000-0000-4000-8000-000000000001"
	claimedMail = "00000000-0000-4000-8000-000000000002"
	deadMail    = "00000000-0000-4000-8000-000000000003"
	deadNotice  = "00000000-0000-4000-8000-000000000004"
	sentMail    = "00000000-0000-4000-8000-000000000005"
)

// outboxDB is a database with mails in every state.
func outboxDB(t *testing.T) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	execute(t, db.SuperDSN, `insert into auth.outbox
			(id, channel, kind, recipient, payload, sealed, state, attempts, next_attempt_at, leased_by, last_reply, created_at, expires_at)
		select id::uuid, 'email', kind, recipient, '{"data": {"note": "private"}}', 'sealed secret', state, attempts, now() + due::interval, worker,
			reply, now() - age::interval, now() + interval '1 hour'
		from (values
			('`+waitingMail+`', 'recovery', 'waiting@example.com', 'queued', 3, '30 minutes', null, E'451 come\nback \x1b[31mlater', '1 min'),
			('`+claimedMail+`', 'recovery', 'claimed@example.com', 'queued', 1, '1 minute', 'a gateway', null, '2 min'),
			('`+deadMail+`', 'confirmation', 'dead@example.com', 'dead', 12, '0', null, '550 no mailbox', '3 min'),
			('`+deadNotice+`', 'password_changed_notification', 'notice@example.com', 'dead', 12, '0', null, '554 go away', '4 min'),
			('`+sentMail+`', 'recovery', 'sent@example.com', 'sent', 1, '0', null, '250 taken', '5 min'))
			m (id, kind, recipient, state, attempts, due, worker, reply, age);
		update auth.outbox set sealed = null where state <> 'queued'`)
	return db
}

func TestOutboxList(t *testing.T) {
	t.Parallel()
	db := outboxDB(t)
	env := []string{"DATABASE_URL=" + db.OwnerDSN}
	o := postern(t, env, "outbox", "list").succeeded(t)
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	if len(lines) != 6 || !strings.HasPrefix(lines[0], "ID ") {
		t.Fatalf("the list:\n%s", o.stdout)
	}
	for i, parts := range [][]string{
		{waitingMail, "queued", " 3 ", "in 30m0s", "recovery", "waiting@example.com", "451 come back [31mlater"},
		{claimedMail, "being sent", "claimed@example.com"},
		{deadMail, "dead", " 12 ", " - ", "550 no mailbox"},
		{deadNotice, "password_changed_notification"},
		{sentMail, "sent", "250 taken"},
	} {
		for _, part := range parts {
			if !strings.Contains(lines[i+1], part) {
				t.Errorf("line %d lacks %q: %q", i+1, part, lines[i+1])
			}
		}
	}
	if o := postern(t, env, "outbox", "list", "--state", "dead", "--limit", "1").succeeded(t); strings.Count(o.stdout, "\n") != 2 || !strings.Contains(o.stdout, deadMail) {
		t.Errorf("one dead mail:\n%s", o.stdout)
	}
	o = postern(t, env, "outbox", "list", "--json").succeeded(t)
	var rows []map[string]any
	if err := json.Unmarshal([]byte(o.stdout), &rows); err != nil || len(rows) != 5 || rows[0]["id"] != waitingMail {
		t.Errorf("%v: %s", err, o.stdout)
	}
	// Neither what is sealed nor what the mail says.
	if strings.Contains(o.stdout, "sealed") || strings.Contains(o.stdout, "7365616c6564") || strings.Contains(o.stdout, "private") {
		t.Errorf("the list shows contents: %s", o.stdout)
	}
	execute(t, db.SuperDSN, `delete from auth.outbox`)
	if o := postern(t, env, "outbox", "list").succeeded(t); o.stdout != "nothing in the outbox\n" {
		t.Errorf("%q", o.stdout)
	}
	if o := postern(t, env, "outbox", "list", "--json").succeeded(t); o.stdout != "[]\n" {
		t.Errorf("%q", o.stdout)
	}
}

func TestOutboxRetry(t *testing.T) {
	t.Parallel()
	db := outboxDB(t)
	env := []string{"DATABASE_URL=" + db.OwnerDSN}
	state := func(id string) (text string) {
		t.Helper()
		err := pgtest.Connect(t, db.SuperDSN).QueryRow(t.Context(), `select concat(state, ' ', attempts, ' ', next_attempt_at <= now())
			from auth.outbox where id = $1::text::uuid`, id).Scan(&text)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if o := postern(t, env, "outbox", "retry", waitingMail).succeeded(t); o.stdout != "1 to be sent now\n" || state(waitingMail) != "queued 3 t" {
		t.Errorf("%q, %s", o.stdout, state(waitingMail))
	}
	for id, reason := range map[string]string{
		deadMail:    "code and link were removed", // and with the relay's words
		claimedMail: "a gateway is sending it", sentMail: "it was sent", "00000000-0000-4000-8000-00000000ffff": "there is none",
	} {
		postern(t, env, "outbox", "retry", id).failedWith(t, id, reason)
	}
	if state(claimedMail) != "queued 1 f" || state(deadMail) != "dead 12 t" {
		t.Errorf("the claimed mail: %s", state(claimedMail))
	}
	o := postern(t, env, "outbox", "retry", "--all", "--json").succeeded(t)
	if !strings.Contains(o.stdout, `"retried": 2`) || !strings.Contains(o.stdout, `"lost": 1`) || state(deadNotice) != "queued 0 t" {
		t.Errorf("%s, %s", o.stdout, state(deadNotice))
	}
}

func TestOutboxDrop(t *testing.T) {
	t.Parallel()
	db := outboxDB(t)
	env := []string{"DATABASE_URL=" + db.OwnerDSN}
	if o := postern(t, env, "outbox", "drop", deadMail).succeeded(t); o.stdout != "dropped "+deadMail+"\n" {
		t.Errorf("%q", o.stdout)
	}
	postern(t, env, "outbox", "drop", deadMail).failedWith(t, "there is no "+deadMail)
	if o := postern(t, env, "outbox", "drop", waitingMail, "--json").succeeded(t); !strings.Contains(o.stdout, "true") {
		t.Errorf("%q", o.stdout)
	}
}

func TestOutboxMistakes(t *testing.T) {
	t.Parallel()
	db := outboxDB(t)
	env := []string{"DATABASE_URL=" + db.OwnerDSN}
	for _, c := range []struct {
		env  []string
		args []string
		want string
	}{
		{nil, []string{"list"}, "DATABASE_URL"},
		{[]string{"DATABASE_URL=" + db.GatewayDSN}, []string{"list"}, "owner of schema auth"},
		{[]string{"DATABASE_URL=" + db.GatewayDSN}, []string{"drop", deadMail}, "owner of schema auth"},
		{[]string{"DATABASE_URL=" + pgtest.Empty(t).SuperDSN}, []string{"list"}, "postern migrate"},
		{env, []string{"list", "x"}, `"x"`},
		{env, []string{"list", "--state", "lost"}, `"lost"`},
		{env, []string{"list", "--limit", "0"}, "--limit"},
		{env, []string{"list", "--limit", "2147483648"}, "--limit"},
		{env, []string{"retry"}, "--all"},
		{env, []string{"retry", deadMail, "--all"}, "--all"},
		{env, []string{"retry", deadMail, sentMail}, sentMail},
		{env, []string{"retry", "x"}, "UUID"},
		{env, []string{"drop"}, "ID"},
		{env, []string{"drop", "x"}, "UUID"},
		{env, []string{"drop", deadMail, "--force"}, "--force"},
	} {
		postern(t, c.env, append([]string{"outbox"}, c.args...)...).failedWith(t, c.want)
	}
}

func TestMailPreview(t *testing.T) {
	t.Parallel()
	o := postern(t, nil, "mail", "preview", "confirmation").succeeded(t)
	if !strings.Contains(o.stdout, "<a href=") || !strings.Contains(o.stderr, "Subject: Confirm your email address") {
		t.Errorf("%s\n%s", o.stdout, o.stderr)
	}
	file := filepath.Join(t.TempDir(), "mail.html")
	o = postern(t, nil, "mail", "preview", "recovery", "--language", "de", "--out="+file).succeeded(t)
	raw, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(raw), "Passwort") || o.stdout != "" || !strings.Contains(o.stderr, "Passwort") {
		t.Errorf("%v: %s\n%s%s", err, raw, o.stdout, o.stderr)
	}
	if o := postern(t, nil, "mail", "preview", "--text", "invite").succeeded(t); strings.Contains(o.stdout, "<") || !strings.Contains(o.stdout, "https://auth.example.com/verify") {
		t.Errorf("%s", o.stdout)
	}
	own := []string{"GOTRUE_MAILER_SUBJECTS_INVITE=Join {{ .SiteURL }}", "GOTRUE_MAILER_TEMPLATES_INVITE=<p>Hello {{ .Data.name }}</p>", "GOTRUE_SITE_URL=https://own.example.com"}
	if o := postern(t, own, "mail", "preview", "invite").succeeded(t); o.stdout != "<p>Hello Ada Lovelace</p>\n" || o.stderr != "Subject: Join https://own.example.com\n" {
		t.Errorf("%q %q", o.stdout, o.stderr)
	}
	postern(t, []string{"GOTRUE_MAILER_TEMPLATES_INVITE=<p>{{ .Nobody }}</p>"}, "mail", "preview", "invite").
		failedWith(t, "GOTRUE_MAILER_TEMPLATES_INVITE:1", ".Nobody")
	postern(t, nil, "mail", "preview").failedWith(t, "KIND", "magic_link")
	postern(t, nil, "mail", "preview", "birthday").failedWith(t, `"birthday"`)
	postern(t, nil, "mail", "preview", "invite", "--language", "?").failedWith(t, "--language")
	postern(t, nil, "mail", "preview", "invite", "--out").failedWith(t, "--out")
	for _, kind := range []string{"magic_link", "email_change", "reauthentication", "password_changed_notification", "mfa_factor_unenrolled_notification"} {
		postern(t, nil, "mail", "preview", kind).succeeded(t)
	}
}
