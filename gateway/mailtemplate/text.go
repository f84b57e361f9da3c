package mailtemplate

import (
	"html"
	"strings"
)

// blockElements begin and end a line; paragraphs are set apart by an empty one.
const (
	blockElements = " address article aside center dd details dialog div dt fieldset figcaption figure footer form header hr legend li main nav section summary tbody tfoot thead tr "
	paragraphs    = " blockquote dl h1 h2 h3 h4 h5 h6 ol p pre table ul "
	// unseen are elements whose content is not shown.
	unseen = " head style script title template textarea "
)

// plain makes the text part of a mail from its HTML: blocks become lines, links
// "text (url)", images their alternative text, hidden elements nothing.
func plain(doc string) string {
	w := &textWriter{}
	s := &scanner{doc: doc}
	for {
		tag, f, more := s.next()
		if f != nil { // cannot be made sense of: what is left is text
			w.words(doc[f.at:])
			break
		}
		if !more {
			break
		}
		switch {
		case w.hidden != "":
			w.skip(tag)
		case tag.kind == textToken:
			w.words(tag.text)
		case tag.kind == startToken:
			w.open(tag)
		default:
			w.close(tag.name)
		}
	}
	return w.text.String()
}

// textWriter lays words out in lines.
type textWriter struct {
	text   strings.Builder
	breaks int  // line ends to write before the next word, at most 2
	space  bool // a space belongs before the next word
	links  []link
	hidden string // element whose content is left out, and
	depth  int    // how many of its name are open
}

// link is an open <a>.
type link struct {
	url   string
	begin int // of its text
}

func (w *textWriter) words(raw string) {
	text := strings.Map(func(r rune) rune {
		switch r {
		case '\u200b', '\u034f', '\u2060', '\ufeff': // fill up previews in many templates
			return -1
		}
		return r
	}, html.UnescapeString(raw))
	if text == "" {
		return
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		w.space = true
		return
	}
	if !strings.HasPrefix(text, words[0]) {
		w.space = true
	}
	w.write(strings.Join(words, " "))
	w.space = !strings.HasSuffix(text, words[len(words)-1])
}

func (w *textWriter) write(text string) {
	switch {
	case w.text.Len() == 0:
	case w.breaks > 0:
		w.text.WriteString(strings.Repeat("\n", w.breaks))
	case w.space:
		w.text.WriteByte(' ')
	}
	w.breaks, w.space = 0, false
	w.text.WriteString(text)
}

func (w *textWriter) line(breaks int) {
	w.breaks = max(w.breaks, breaks)
	w.space = false
}

// layout begins a new line where an element is a block.
func (w *textWriter) layout(name string) {
	switch {
	case strings.Contains(paragraphs, " "+name+" "):
		w.line(2)
	case strings.Contains(blockElements, " "+name+" "):
		w.line(1)
	case name == "td" || name == "th":
		w.space = true
	}
}

func (w *textWriter) open(tag token) {
	style := strings.ToLower(strings.Join(strings.Fields(tag.attrs["style"]), ""))
	_, hidden := tag.attrs["hidden"]
	if strings.Contains(unseen, " "+tag.name+" ") || hidden || strings.Contains(style, "display:none") {
		if !tag.closed && !strings.Contains(voidElements, " "+tag.name+" ") {
			w.hidden, w.depth = tag.name, 1
		}
		return
	}
	w.layout(tag.name)
	switch tag.name {
	case "br":
		w.breaks, w.space = min(w.breaks+1, 2), false
	case "li":
		w.write("- ")
	case "img":
		w.words(tag.attrs["alt"])
	case "a":
		w.links = append(w.links, link{url: strings.TrimSpace(html.UnescapeString(tag.attrs["href"])), begin: w.text.Len()})
	}
}

func (w *textWriter) close(name string) {
	w.layout(name)
	if name != "a" || len(w.links) == 0 {
		return
	}
	last := w.links[len(w.links)-1]
	w.links = w.links[:len(w.links)-1]
	label := strings.TrimSpace(w.text.String()[last.begin:])
	switch {
	case last.url == "" || strings.HasPrefix(last.url, "#"):
	case label == "":
		w.write(last.url)
	case label != last.url && "mailto:"+label != last.url:
		w.breaks, w.space = 0, true
		w.write("(" + last.url + ")")
	}
}

// skip passes over what is hidden.
func (w *textWriter) skip(tag token) {
	if tag.name != w.hidden || tag.closed {
		return
	}
	switch tag.kind {
	case startToken:
		w.depth++
	case endToken:
		if w.depth--; w.depth == 0 {
			w.hidden = ""
		}
	}
}
