package mailtemplate

import (
	"slices"
	"strings"
)

type tokenKind int

const (
	textToken tokenKind = iota
	startToken
	endToken
)

// token is a piece of an HTML document. Comments are left out.
type token struct {
	kind   tokenKind
	at     int    // where it begins
	name   string // of the tag, lower case
	text   string // as it stands, entities included; of <style> and its like the content
	attrs  map[string]string
	closed bool // <br/>
}

// fault is something wrong in a document.
type fault struct {
	at   int
	what string
}

// scanner cuts a document into tokens. It takes what mail programs take and
// complains about what they can only guess at: tags and quotes without an end.
type scanner struct {
	doc string
	at  int
}

// rawElements hold text in which tags mean nothing.
const rawElements = " script style title textarea "

// next returns the next token; false at the end.
func (s *scanner) next() (token, *fault, bool) {
	for s.at < len(s.doc) {
		rest := s.doc[s.at:]
		switch {
		case strings.HasPrefix(rest, "<!--"):
			if f := s.comment(); f != nil {
				return token{}, f, false
			}
		case len(rest) > 1 && rest[0] == '<' && letter(rest[1]):
			tag, f := s.startTag()
			return tag, f, f == nil
		case len(rest) > 2 && rest[0] == '<' && rest[1] == '/' && letter(rest[2]):
			tag, f := s.endTag()
			return tag, f, f == nil
		case strings.HasPrefix(rest, "<!"), strings.HasPrefix(rest, "<?"), strings.HasPrefix(rest, "</"):
			end := strings.IndexByte(rest, '>')
			if end < 0 {
				return token{}, &fault{s.at, rest[:2] + " has no >"}, false
			}
			s.at += end + 1
		default:
			begin := s.at
			end := strings.IndexByte(rest[1:], '<')
			if end < 0 {
				end = len(rest) - 1
			}
			s.at += end + 1
			return token{kind: textToken, at: begin, text: s.doc[begin:s.at]}, nil, true
		}
	}
	return token{}, nil, false
}

func (s *scanner) comment() *fault {
	// <!--> is a whole comment.
	end := strings.Index(s.doc[s.at+2:], "-->")
	if end < 0 {
		return &fault{s.at, "comment is not closed"}
	}
	s.at += 2 + end + len("-->")
	return nil
}

func (s *scanner) endTag() (token, *fault) {
	tag := token{kind: endToken, at: s.at}
	s.at += 2
	tag.name = s.word(">/<")
	end := strings.IndexAny(s.doc[s.at:], "<>")
	if end < 0 || s.doc[s.at+end] == '<' {
		return tag, &fault{tag.at, "tag </" + tag.name + " has no >"}
	}
	s.at += end + 1
	return tag, nil
}

func (s *scanner) startTag() (token, *fault) {
	tag := token{kind: startToken, at: s.at, attrs: map[string]string{}}
	s.at++
	tag.name = s.word(">/<")
	open := &fault{tag.at, "tag <" + tag.name + " has no >"}
	for {
		s.space()
		if s.at >= len(s.doc) || s.doc[s.at] == '<' {
			return tag, open
		}
		switch s.doc[s.at] {
		case '>':
			s.at++
			return s.rawContent(tag)
		case '/':
			s.at++
			tag.closed = s.at < len(s.doc) && s.doc[s.at] == '>'
			continue
		case '"', '\'':
			return tag, &fault{tag.at, "tag <" + tag.name + "> has a quote too many or too few"}
		}
		name, value, f := s.attribute(tag)
		if f != nil {
			return tag, f
		}
		if _, twice := tag.attrs[name]; !twice {
			tag.attrs[name] = value
		}
	}
}

func (s *scanner) attribute(tag token) (name, value string, f *fault) {
	name = s.word(">/=<")
	if strings.ContainsAny(name, `"'`) {
		return "", "", &fault{tag.at, "tag <" + tag.name + "> has a quote too many or too few"}
	}
	if name == "" { // a lone =
		s.at++
		return name, "", nil
	}
	before := s.at
	s.space()
	if s.at >= len(s.doc) || s.doc[s.at] != '=' {
		s.at = before
		return name, "", nil
	}
	s.at++
	s.space()
	if s.at < len(s.doc) && (s.doc[s.at] == '"' || s.doc[s.at] == '\'') {
		end := strings.IndexByte(s.doc[s.at+1:], s.doc[s.at])
		if end < 0 {
			return "", "", &fault{tag.at, "the value of " + name + " in tag <" + tag.name + "> has no closing quote"}
		}
		value = s.doc[s.at+1 : s.at+1+end]
		s.at += end + 2
		return name, value, nil
	}
	begin := s.at
	for s.at < len(s.doc) && !blank(s.doc[s.at]) && s.doc[s.at] != '>' {
		s.at++
	}
	return name, s.doc[begin:s.at], nil
}

// rawContent adds to <style> and its like what stands in them and skips their end.
func (s *scanner) rawContent(tag token) (token, *fault) {
	if tag.closed || !strings.Contains(rawElements, " "+tag.name+" ") {
		return tag, nil
	}
	end := indexFold(s.doc[s.at:], "</"+tag.name)
	if end < 0 {
		return tag, &fault{tag.at, "<" + tag.name + "> is never closed"}
	}
	tag.text = s.doc[s.at : s.at+end]
	s.at += end
	_, f := s.endTag()
	tag.closed = true
	return tag, f
}

// word reads up to white space or one of the bytes, and lowers the letters.
func (s *scanner) word(until string) string {
	begin := s.at
	for s.at < len(s.doc) && !blank(s.doc[s.at]) && strings.IndexByte(until, s.doc[s.at]) < 0 {
		s.at++
	}
	return strings.ToLower(s.doc[begin:s.at])
}

func (s *scanner) space() {
	for s.at < len(s.doc) && blank(s.doc[s.at]) {
		s.at++
	}
}

func blank(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' || b == '\f' }

func letter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// indexFold finds an ASCII string whatever its case.
func indexFold(s, part string) int {
	for at := 0; at+len(part) <= len(s); at++ {
		if s[at] == part[0] && strings.EqualFold(s[at:at+len(part)], part) {
			return at
		}
	}
	return -1
}

// voidElements never have an end tag; optionalEnds may lack theirs.
const (
	voidElements = " area base br col embed hr img input link meta param source track wbr "
	optionalEnds = " html head body p li dt dd tr td th thead tbody tfoot colgroup caption option optgroup rp rt "
)

// balance checks that tags are closed, and in order.
func balance(doc string) *fault {
	var open []token
	s := &scanner{doc: doc}
	for {
		tag, f, more := s.next()
		if f != nil {
			return f
		}
		if !more {
			break
		}
		void := strings.Contains(voidElements, " "+tag.name+" ")
		switch {
		case tag.kind == startToken && !void && !tag.closed:
			open = append(open, tag)
		case tag.kind == endToken && void:
			return &fault{tag.at, "<" + tag.name + "> has no end tag, yet here is </" + tag.name + ">"}
		case tag.kind == endToken:
			if open, f = closeTag(open, tag); f != nil {
				return f
			}
		}
	}
	for _, tag := range open {
		if !strings.Contains(optionalEnds, " "+tag.name+" ") {
			return &fault{tag.at, "<" + tag.name + "> is never closed"}
		}
	}
	return nil
}

// closeTag takes the element that an end tag closes off the open ones.
func closeTag(open []token, end token) ([]token, *fault) {
	var unclosed string
	for at, tag := range slices.Backward(open) {
		if tag.name == end.name {
			if unclosed != "" {
				return nil, &fault{end.at, "</" + end.name + "> comes before <" + unclosed + "> is closed"}
			}
			return open[:at], nil
		}
		if unclosed == "" && !strings.Contains(optionalEnds, " "+tag.name+" ") {
			unclosed = tag.name
		}
	}
	return nil, &fault{end.at, "</" + end.name + "> closes nothing"}
}
