package mailtemplate

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"strings"
)

// builtinFiles holds a directory per language and in it a file per kind: a line
// with the subject, an empty line, the HTML.
//
//go:embed builtin
var builtinFiles embed.FS

// pair is a mail's two templates.
type pair struct {
	subject, body *template.Template
}

// loadBuiltin compiles the built-in mails, by language and kind. They are checked
// like anybody's.
func loadBuiltin() (map[string]map[Kind]pair, error) {
	languages, err := fs.ReadDir(builtinFiles, "builtin")
	if err != nil {
		return nil, err
	}
	all := map[string]map[Kind]pair{}
	for _, language := range languages {
		mails := map[Kind]pair{}
		for _, kind := range Kinds() {
			name := path.Join("builtin", language.Name(), string(kind)+".html")
			content, err := builtinFiles.ReadFile(name)
			if err != nil {
				return nil, err
			}
			if mails[kind], err = compileBuiltin(kind, name, string(content)); err != nil {
				return nil, err
			}
		}
		all[language.Name()] = mails
	}
	return all, nil
}

func compileBuiltin(kind Kind, name, content string) (pair, error) {
	first, body, _ := strings.Cut(content, "\n\n")
	line, found := strings.CutPrefix(first, "Subject: ")
	if !found {
		return pair{}, fmt.Errorf("%s:1: no subject", name)
	}
	subject, err := compileSubject(kind, name, line)
	if err != nil {
		return pair{}, err
	}
	compiled, err := compileBody(kind, name, body)
	return pair{subject: subject, body: compiled}, err
}
