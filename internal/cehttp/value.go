package cehttp

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Encode encodes an attribute's value for a header (CloudEvents HTTP binding 1.0.2, section
// 3.1.3.2): it percent-encodes spaces, double quotes, percent signs and everything outside
// printable ASCII.
func Encode(value string) string {
	n := 0
	for i := range len(value) {
		if !bare(value[i]) {
			n++
		}
	}
	if n == 0 {
		return value
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(value) + 2*n)
	for i := range len(value) {
		if c := value[i]; bare(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func bare(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' }

var (
	errQuotes  = errors.New(`has a double quote that does not enclose the whole value (percent-encode it as %22)`)
	errPercent = errors.New("has a percent sign that two hexadecimal digits do not follow (percent-encode it as %25)")
	errUTF8    = errors.New("must be UTF-8")
)

// Decode decodes a header's value, also one by an earlier version of the binding: a value in
// double quotes is unquoted, and then percent-decoded once. UTF-8 characters that should have
// been encoded are accepted as they are. An ambiguous value is an error.
func Decode(value string) (string, error) {
	if strings.IndexByte(value, '"') >= 0 {
		var ok bool
		if value, ok = unquote(value); !ok {
			return "", errQuotes
		}
	}
	value, err := url.PathUnescape(value)
	if err != nil {
		return "", errPercent
	}
	if !utf8.ValidString(value) {
		return "", errUTF8
	}
	return value, nil
}

// unquote decodes a quoted-string of RFC 7230, section 3.2.6.
func unquote(value string) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	var b strings.Builder
	for i := 1; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"':
			return b.String(), i == len(value)-1
		case c == '\\':
			if i++; i == len(value) {
				return "", false
			}
			b.WriteByte(value[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
