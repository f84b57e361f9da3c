// Package jsonwalk reads JSON objects member by member without decoding what nobody asks for: the gateway's two busiest texts,
// claims of access tokens and answers of the database, are mostly passed on as they are.
package jsonwalk

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// EachMember calls visit for every member of a JSON object, with its name
// decoded. The text must be valid JSON and begin with the brace: the walk makes no
// checks of its own, and panics or misreads otherwise.
func EachMember(object []byte, visit func(name, value []byte) error) error {
	at := skipSpace(object, 1)
	for object[at] != '}' {
		end := stringEnd(object, at)
		name := object[at+1 : end-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			decoded, err := DecodeString(object[at:end])
			if err != nil {
				return err
			}
			name = []byte(decoded)
		}
		at = skipSpace(object, skipSpace(object, end)+1) // over the colon
		end = valueEnd(object, at)
		if err := visit(name, object[at:end]); err != nil {
			return err
		}
		at = nextItem(object, end)
	}
	return nil
}

// ElementsBeginWith says whether every element of a JSON array, under the same
// conditions, begins with the given character.
func ElementsBeginWith(array []byte, first byte) bool {
	for at := skipSpace(array, 1); array[at] != ']'; at = nextItem(array, valueEnd(array, at)) {
		if array[at] != first {
			return false
		}
	}
	return true
}

// nextItem returns the index of the next member or element, or of the closing
// bracket.
func nextItem(text []byte, end int) int {
	at := skipSpace(text, end)
	if text[at] == ',' {
		at = skipSpace(text, at+1)
	}
	return at
}

func skipSpace(text []byte, at int) int {
	for text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r' {
		at++
	}
	return at
}

// stringEnd returns the index after the string that begins at a quote.
func stringEnd(text []byte, at int) int {
	for at++; text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// valueEnd returns the index after the value that begins at at.
func valueEnd(text []byte, at int) int {
	for depth := 0; ; {
		switch text[at] {
		case '"':
			at = stringEnd(text, at)
		case '{', '[':
			depth++
			at++
			continue
		case '}', ']':
			depth--
			at++
		case ',', ':', ' ', '\t', '\n', '\r':
			at++
			continue
		default:
			at = literalEnd(text, at)
		}
		if depth == 0 {
			return at
		}
	}
}

// literalEnd returns the index after a number, true, false or null.
func literalEnd(text []byte, at int) int {
	for {
		switch text[at] {
		case ',', ']', '}', ' ', '\t', '\n', '\r':
			return at
		}
		at++
	}
}

// DecodeString decodes a string; anything else is an error.
func DecodeString(value []byte) (string, error) {
	if value[0] == '"' && bytes.IndexByte(value, '\\') < 0 && utf8.Valid(value) {
		return string(value[1 : len(value)-1]), nil
	}
	var text string
	err := json.Unmarshal(value, &text)
	return text, err
}
