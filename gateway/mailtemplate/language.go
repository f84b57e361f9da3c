package mailtemplate

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

const (
	// longestLanguages bounds what is read of a header that anybody may send.
	longestLanguages = 1000
	mostLanguages    = 10
)

// Preferred lists the languages that a person reads, best first: the one set in the
// account (user_metadata.locale, such as de-AT or de_AT.UTF-8), then those of the
// header Accept-Language.
func Preferred(locale, acceptLanguage string) []string {
	type choice struct {
		tag    string
		weight float64
	}
	var choices []choice
	if tag := normalTag(locale); tag != "" {
		choices = append(choices, choice{tag, 2})
	}
	header := acceptLanguage[:min(len(acceptLanguage), longestLanguages)]
	for item := range strings.SplitSeq(header, ",") {
		tag, parameters, _ := strings.Cut(item, ";")
		weight := 1.0
		if q, found := strings.CutPrefix(strings.TrimSpace(parameters), "q="); found {
			read, err := strconv.ParseFloat(q, 64)
			if err != nil || !(read > 0 && read <= 1) {
				continue
			}
			weight = read
		}
		if tag = normalTag(tag); tag != "" {
			choices = append(choices, choice{tag, weight})
		}
	}
	slices.SortStableFunc(choices, func(a, b choice) int { return cmp.Compare(b.weight, a.weight) })
	var tags []string
	for _, c := range choices {
		if !slices.Contains(tags, c.tag) && len(tags) < mostLanguages {
			tags = append(tags, c.tag)
		}
	}
	return tags
}

// normalTag writes a language tag in one form, or returns "".
func normalTag(tag string) string {
	tag = strings.TrimSpace(tag)
	if len(tag) > 40 {
		return ""
	}
	if end := strings.IndexAny(tag, ".@"); end >= 0 {
		tag = tag[:end]
	}
	tag = strings.ReplaceAll(strings.ToLower(tag), "_", "-")
	odd := strings.ContainsFunc(tag, func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	if odd || tag == "c" || tag == "posix" {
		return ""
	}
	return strings.Trim(tag, "-")
}

// parentTag takes the last part off a tag: de for de-at, "" for de.
func parentTag(tag string) string {
	return tag[:max(0, strings.LastIndexByte(tag, '-'))]
}
