package event

import (
	"fmt"
	"time"
)

// Validators interpret the JSON Schema formats "date" and "date-time" differently (offsets of
// 24 hours, leap seconds, 30 February). So the schemas also have patterns, valid in both
// ECMA-262 and RE2, for exactly what the parser accepts: every day of the Gregorian calendar;
// RFC 3339 with upper-case T and Z, no leap seconds, at most nine fractional digits, offsets
// below 24 hours; times from 1971 on.
var (
	datePattern = `^` + dayPattern(`[0-9]{4}`, `[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00`) + `$`
	timePattern = `^` + dayPattern(`(?:197[1-9]|19[89][0-9]|[2-9][0-9]{3})`,
		`19(?:7[26]|8[048]|9[26])|[2-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[3579][26])00`) +
		`T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$`
)

// dayPattern returns a pattern of a day. year matches the years, and leap the leap years among
// them.
func dayPattern(year, leap string) string {
	return `(?:` + year + `-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))` +
		`|(?:` + leap + `)-02-29)`
}

// The years that a time in an event may have. A clock that was never set shows 1970, and a time
// that was never set has the year 1: both are refused.
const (
	minYear = 1971
	maxYear = 9999
)

// ParseTime reads an RFC 3339 time. time.Parse alone accepts more than RFC 3339: an hour of one
// digit, a comma before the fraction, offsets of 24 hours.
func ParseTime(s string) (time.Time, error) {
	if !isRFC3339(s) {
		return time.Time{}, fmt.Errorf("must be as in 2026-01-31T14:02:00Z (RFC 3339), is %q", clip(s))
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("must be as in 2026-01-31T14:02:00Z (RFC 3339), is %q", clip(s))
	}
	return t, nil
}

// isRFC3339 checks the layout; time.Parse checks the calendar and the clock.
func isRFC3339(s string) bool {
	if len(s) < len("2006-01-02T15:04:05Z") || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return false
	}
	rest := s[19:]
	if rest[0] == '.' {
		n := digits(rest[1:])
		if n == 0 || n > 9 {
			return false
		}
		rest = rest[1+n:]
	}
	if rest == "Z" {
		return true
	}
	return len(rest) == len("+00:00") && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':' &&
		digits(rest[1:3]) == 2 && digits(rest[4:]) == 2 && rest[1:3] < "24" && rest[4:] < "60"
}

// wrongYear returns what is wrong with the year of a time in its written form, or "".
func wrongYear(written string) string {
	if written[:4] < "1971" {
		return fmt.Sprintf("must be of the year %d or later, is %q", minYear, clip(written))
	}
	return ""
}

// earliest is the first time that an event may have.
var earliest = time.Date(minYear, 1, 1, 0, 0, 0, 0, time.UTC)

// latest is the last time that RFC 3339 can express in UTC.
var latest = time.Date(maxYear, 12, 31, 23, 59, 59, 999999999, time.UTC)

// inUTC limits a time to the year 9999, which its offset may exceed in UTC.
func inUTC(t time.Time) time.Time {
	if t.After(latest) {
		return latest
	}
	return t
}
