package cehttp

import (
	"errors"
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
	if strings.IndexByte(value, '%') >= 0 {
		var ok bool
		if value, ok = unescape(value); !ok {
			return "", errPercent
		}
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

func unescape(value string) (string, bool) {
	b := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c == '%' {
			if i+2 >= len(value) {
				return "", false
			}
			high, low := digit(value[i+1]), digit(value[i+2])
			if high > 15 || low > 15 {
				return "", false
			}
			c = high<<4 | low
			i += 2
		}
		b = append(b, c)
	}
	return string(b), true
}

func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}
