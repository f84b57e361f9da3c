package mailtemplate

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"strconv"
	"strings"
	"text/template/parse"
	"unicode/utf8"
)

// templateName stands for a template inside of this package; messages get the name
// that the operator knows.
const templateName = "mail"

// located matches what the template packages put before their messages.
var located = regexp.MustCompile(`^(?:html/)?template: ?` + templateName + `:(\d+):(?:\d+:)? ?(.*)$`)

// Check tells what is wrong with the body of a kind of mail: each mistake on a
// line, as "name:line: what".
func Check(kind Kind, name, content string) error {
	_, err := compileBody(kind, name, content)
	return err
}

// compileBody parses and checks an HTML template.
func compileBody(kind Kind, name, content string) (*template.Template, error) {
	parsed, err := parseTemplate(name, content)
	if err != nil {
		return nil, err
	}
	trees := treesOf(parsed)
	mistakes := checkVariables(kind, trees)
	if f := checkHTML(trees); f != nil {
		mistakes = append(mistakes, *f)
	}
	return finish(parsed, kind, name, content, mistakes)
}

// compileSubject parses and checks a subject. Its values are escaped like those of
// a body, as they are in the reference.
func compileSubject(kind Kind, name, content string) (*template.Template, error) {
	parsed, err := parseTemplate(name, content)
	if err != nil {
		return nil, err
	}
	return finish(parsed, kind, name, content, checkVariables(kind, treesOf(parsed)))
}

func parseTemplate(name, content string) (*template.Template, error) {
	if !utf8.ValidString(content) {
		return nil, fmt.Errorf("%s:1: not UTF-8", name)
	}
	if strings.TrimSpace(content) == "" {
		return nil, fmt.Errorf("%s:1: empty", name)
	}
	parsed, err := template.New(templateName).Parse(content)
	if err != nil {
		return nil, relocated(name, err)
	}
	if parsed.Tree == nil || parse.IsEmptyTree(parsed.Tree.Root) {
		return nil, fmt.Errorf("%s:1: empty", name)
	}
	return parsed, nil
}

// treesOf returns the parsed templates by name: the mail and what it defines.
func treesOf(parsed *template.Template) map[string]*parse.Tree {
	trees := map[string]*parse.Tree{}
	for _, one := range parsed.Templates() {
		if one.Tree != nil {
			trees[one.Name()] = one.Tree
		}
	}
	return trees
}

// finish reports the mistakes, or has html/template find out the context of every
// value, which it does at the first execution and may refuse.
func finish(parsed *template.Template, kind Kind, name, content string, mistakes []fault) (*template.Template, error) {
	all := make([]error, 0, len(mistakes))
	for _, m := range mistakes {
		all = append(all, fmt.Errorf("%s:%d: %s", name, 1+strings.Count(content[:m.at], "\n"), m.what))
	}
	if len(all) > 0 {
		return nil, errors.Join(all...)
	}
	// What fails for other reasons depends on the data of the person.
	if _, ok := errors.AsType[*template.Error](parsed.Execute(io.Discard, Sample(kind).values())); ok {
		return nil, relocated(name, parsed.Execute(io.Discard, Sample(kind).values()))
	}
	return parsed, nil
}

// relocated puts name and line before a message of the template packages.
func relocated(name string, err error) error {
	message := strings.Join(strings.Fields(err.Error()), " ")
	if found := located.FindStringSubmatch(message); found != nil {
		line, _ := strconv.Atoi(found[1])
		return fmt.Errorf("%s:%d: %s", name, max(line, 1), found[2])
	}
	return fmt.Errorf("%s:1: %s", name, message)
}
