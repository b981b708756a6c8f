package event

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// WrongText says why a string may not be an attribute of an event (CloudEvents
// 1.0.2, section 3.1, type String), or "".
func WrongText(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return wrongUnicode(s)
		}
	}
	return ""
}

func wrongUnicode(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "must be UTF-8"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must have no control characters"
	case strings.ContainsFunc(s, noncharacter):
		return "must have no Unicode noncharacters"
	}
	return ""
}

// wrongName is WrongID for id, source and subject, with their length.
func wrongName(s string) string {
	if s == "" || len(s) > MaxAttribute {
		return fmt.Sprintf("must have 1 to %d bytes", MaxAttribute)
	}
	return WrongID(s)
}

func noncharacter(r rune) bool { return r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe }

// idPattern is what a member of data that repeats an id must match, as a regular
// expression of ECMA-262 and RE2.
const idPattern = `^[^\p{Z}\p{Cc}\p{Cf}](?:[^\p{Cc}]*[^\p{Z}\p{Cc}\p{Cf}])?$`

var isID = regexp.MustCompile(idPattern).MatchString

func matchesID(s string) bool { return graphic(s) || isID(s) }

// graphic: s is not empty and of visible ASCII alone.
func graphic(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return s != ""
}

// WrongID says why a string may not name something (an event, its source, a
// player), or "". HTTP drops the spaces around a header's value, so two names
// that differ by them alone would become one; a name with invisible characters
// around it cannot be told from the one without. Names are compared byte by
// byte: they are never trimmed, folded or normalised, so é in its two Unicode
// forms makes two names.
func WrongID(s string) string {
	if s == "" || graphic(s) {
		return ""
	}
	if wrong := WrongText(s); wrong != "" {
		return wrong
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	if invisible(first) || invisible(last) {
		return "must not begin or end with a space or an invisible character"
	}
	return ""
}

func invisible(r rune) bool { return unicode.In(r, unicode.Z, unicode.Cf) }
