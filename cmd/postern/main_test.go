package main

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of a test.
const patience = 60 * time.Second

// oneAtATime keeps command lines apart: the library keeps its help flag in a global.
var oneAtATime sync.Mutex

// outcome is what a command printed and whether it failed.
type outcome struct {
	stdout, stderr string
	err            error
}

// postern runs a command line with nothing but this environment.
func postern(t *testing.T, environ []string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	oneAtATime.Lock()
	defer oneAtATime.Unlock()
	err := run(ctx, append([]string{"postern"}, args...), environ, &stdout, &stderr)
	return outcome{stdout.String(), stderr.String(), err}
}

// succeeded ends the test unless the command did.
func (o outcome) succeeded(t *testing.T) outcome {
	t.Helper()
	if o.err != nil {
		t.Fatalf("%v\n%s%s", o.err, o.stdout, o.stderr)
	}
	return o
}

// failedWith ends the test unless the command failed with one line that holds all of these.
func (o outcome) failedWith(t *testing.T, parts ...string) {
	t.Helper()
	if o.err == nil {
		t.Fatalf("no error, want one with %q\n%s%s", parts, o.stdout, o.stderr)
	}
	text := o.err.Error()
	if strings.Contains(text, "\n") {
		t.Errorf("the error has several lines:\n%s", text)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("the error lacks %q: %s", part, text)
		}
	}
}

// listed finds the names of commands in a help text.
var listed = regexp.MustCompile(`(?m)^   ([a-z][a-z-]*)(?:, [a-z-]+)?  +\S`)

// section is a part of a help text.
func section(help, title string) string {
	_, rest, found := strings.Cut(help, title+":\n")
	if !found {
		return ""
	}
	out, _, _ := strings.Cut(rest, "\n\n")
	return out
}

func TestHelpOfEveryCommandIsComplete(t *testing.T) {
	t.Parallel()
	help := postern(t, nil, "--help").succeeded(t).stdout
	names := listed.FindAllStringSubmatch(section(help, "COMMANDS"), -1)
	if len(names) < 8 {
		t.Fatalf("the help lists %d commands:\n%s", len(names), help)
	}
	for _, name := range names {
		helpIsComplete(t, name[1])
	}
}

// helpIsComplete wants a command's help, and that of what is below it, to describe and to show an example.
func helpIsComplete(t *testing.T, words ...string) {
	t.Helper()
	path := strings.Join(words, " ")
	help := postern(t, nil, append(words, "--help")...).succeeded(t).stdout
	if section(help, "DESCRIPTION") == "" {
		t.Errorf("postern %s --help has no description", path)
	}
	title := help[:max(0, strings.Index(help, "\n\n"))]
	if !strings.Contains(title, " - ") {
		t.Errorf("postern %s --help does not say in a line what it does: %q", path, title)
	}
	_, rest, _ := strings.Cut(help, "\n\n")
	if !strings.Contains(rest, "postern "+path) {
		t.Errorf("postern %s --help shows no example", path)
	}
	for line := range strings.SplitSeq(section(help, "OPTIONS"), "\n") {
		if regexp.MustCompile(`^   --\S+( value)?\s*$`).MatchString(line) {
			t.Errorf("postern %s --help leaves an option unexplained: %s", path, line)
		}
	}
	for line := range strings.SplitSeq(help, "\n") {
		if len(line) > 140 {
			t.Errorf("postern %s --help has a line of %d characters: %s", path, len(line), line)
		}
	}
	for _, name := range listed.FindAllStringSubmatch(section(help, "COMMANDS"), -1) {
		if name[1] != "help" { // the library's own
			helpIsComplete(t, append(words, name[1])...)
		}
	}
}

func TestMistypedCommandsAreErrors(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"srve"}, {"help-me"}, {"keys", "sceret"}, {"migrate", "--too", "3"}, {"--verbose", "version"}} {
		o := postern(t, nil, args...)
		if o.err == nil {
			t.Errorf("postern %s: no error\n%s", strings.Join(args, " "), o.stdout)
		}
	}
}

// TestCommandsRefuseWordsTheyDoNotKnow: `postern migrate 0` must not migrate up.
func TestCommandsRefuseWordsTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"serve", "migrate", "hand-back", "health", "version"} {
		o := postern(t, []string{"DATABASE_URL=postgres://nobody@127.0.0.1:1/nothing", "PORT=1"}, name, "0")
		if o.err == nil || !strings.Contains(o.err.Error(), `"0"`) {
			t.Errorf("postern %s 0: %v\n%s", name, o.err, o.stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	o := postern(t, nil, "version").succeeded(t)
	if !regexp.MustCompile(`^postern \S+, schema version [1-9][0-9]*\n$`).MatchString(o.stdout) {
		t.Errorf("postern version: %q", o.stdout)
	}
}

// serveInBackground runs a gateway inside this process and returns its address. It ends with the test.
func serveInBackground(t *testing.T, environ []string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	address, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- serveGateway(ctx, environ, io.Discard, serving{ready: func(addr string) { address <- addr }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	select {
	case addr := <-address:
		return "http://" + addr
	case err := <-done:
		done <- nil
		t.Fatalf("the gateway did not start: %v", err)
	}
	return ""
}
