package event

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// WrongText returns why a string can't be an attribute (CloudEvents 1.0.2, section 3.1, type
// String), or "".
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

// wrongName is WrongID with a check of the length, for id, source and subject.
func wrongName(s string) string {
	if s == "" || len(s) > MaxAttribute {
		return fmt.Sprintf("must have 1 to %d bytes", MaxAttribute)
	}
	return WrongID(s)
}

func noncharacter(r rune) bool { return r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe }

// idPattern matches members of data that repeat an id. It is a regular expression of both
// ECMA-262 and RE2.
const idPattern = `^[^\p{Z}\p{Cc}\p{Cf}](?:[^\p{Cc}]*[^\p{Z}\p{Cc}\p{Cf}])?$`

var isID = regexp.MustCompile(idPattern).MatchString

func matchesID(s string) bool { return graphic(s) || isID(s) }

// graphic reports whether s is not empty and only has visible ASCII characters.
func graphic(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return s != ""
}

// WrongID returns why a string can't be a name (of an event, its source, a player), or "".
// HTTP drops the spaces around a header's value, so that names that differ only by them would
// become one; and a name that begins or ends with invisible characters looks like the one
// without them. Names are compared byte by byte. They are never trimmed, folded or normalised,
// so that é in its two Unicode forms makes two names.
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
