package event_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"pitboss/internal/event"
)

// Values as they may stand in JSON, around every bound that the catalogue has.
var (
	numbers = []string{"0", "-0", "1", "-1", "1.0", "1.50", "0.1e1", "1e3", "1E+2", "100e-2", "1e-1", "1e400", "-1e400", "0e999999999999999999999",
		"600000", "600001", "86400000", "86400001", "9007199254740991", "9007199254740992", "-9007199254740991", "-9007199254740992",
		"9007199254740990.0", "9007199254740991.5", "900719925474099.1e1", "9223372036854775807", "9223372036854775808", "18446744073709551616",
		"1.00000000000000000000000001", "123456789012345678901234567890e-20"}
	times = []string{"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.1234567891Z", "2026-01-02T03:04:05+23:59",
		"2026-01-02T03:04:05+24:00", "2026-01-02T03:04:05-00:60", "2026-01-02T03:04:05+0100", "2026-01-02T3:04:05Z", "2026-01-02T03:04:05,5Z",
		"2026-01-02T24:00:00Z", "2016-12-31T23:59:60Z", "2026-02-29T00:00:00Z", "2028-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2000-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "1970-12-31T23:59:59Z", "1971-01-01T00:00:00Z",
		"1972-02-29T00:00:00Z", "0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "10000-01-01T00:00:00Z",
		"2026-01-02t03:04:05z", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05", " 2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z\\n", "2026-01-02", ""}
	dates = []string{"1990-02-28", "1990-02-29", "2000-02-29", "1900-02-29", "1990-2-28", "1990-13-01", "0000-02-29", "1990-06-31", "1990-06-30\\n", "990-01-01", "+1990-01-01"}
	texts = []string{"", "x", " x", "x ", "\\u0020x", "a b", "\\u0000", "a\\u0000b", "x\\u00a0", "\\u200bx", "\\ud83d\\ude00", "é", "e\\u0301", "\\uffff", "GBP", "gbp",
		"GBPP", "GB", "CA-ON", "CA-ONTA", "casino", "all", "none", "operator", "\\u0063asino", "x\\n", "GBP\\n"}
	others = []string{"null", "true", "false", "[]", "{}", `[1,{"a":"b"}]`}
)

// member draws the value of a field, right more often than not.
func member(rng *rand.Rand, f event.Field) string {
	pick := func(list []string) string { return list[rng.IntN(len(list))] }
	quoted := func(s string) string { return `"` + s + `"` }
	switch n := rng.IntN(40); {
	case n == 0:
		return pick(others)
	case n == 1:
		return pick(numbers)
	case n == 2:
		return quoted(pick(texts))
	case n < 8 && f.Max != nil && f.Kind == event.String:
		return quoted(strings.Repeat([]string{"x", "é", "\\u00e9", "\\ud83d\\ude00"}[rng.IntN(4)], int(*f.Max)+rng.IntN(3)-1))
	}
	switch {
	case f.Enum != nil:
		return quoted(pick(f.Enum))
	case f.Format == "date":
		return quoted(pick(dates))
	case f.Kind == event.Time && rng.IntN(2) == 0:
		return quoted(pick(times))
	case f.Kind == event.Time:
		return quoted(times[0])
	case f.Kind == event.Int && rng.IntN(2) == 0:
		return pick(numbers)
	case f.Kind == event.Int:
		return "7"
	case f.Kind == event.Bool:
		return pick([]string{"true", "false"})
	case f.Name == "jurisdiction":
		return quoted(pick([]string{"GB", "CA-ON", "SE"}))
	case f.Name == "currency":
		return quoted("GBP")
	case rng.IntN(2) == 0:
		return quoted(pick(texts))
	}
	return quoted("plain")
}

// The published schema and ingest's parser give one verdict about thousands of
// events that are wrong here and there. What a schema cannot say, its $comment does.
func TestSchemaAndParserGiveOneVerdict(t *testing.T) {
	t.Parallel()
	schemas := compileSchemas(t)
	rng := rand.New(rand.NewPCG(17, 11))
	taken, refused := 0, 0
	for range 12000 {
		flat := flatTypes()[rng.IntN(len(flatTypes()))]
		var members []string
		for _, f := range flat.Fields {
			if rng.IntN(12) == 0 {
				continue
			}
			name := f.Name
			if rng.IntN(20) == 0 {
				name = fmt.Sprintf(`\u%04x%s`, name[0], name[1:]) // the same name
			}
			members = append(members, `"`+name+`":`+member(rng, f))
		}
		if rng.IntN(4) == 0 {
			members = append(members, `"unknown":`+others[rng.IntN(len(others))])
		}
		body := "{" + strings.Join(members, ",") + "}"
		parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		bySchema := schemas[flat.Type].Validate(parsed)
		_, byParser := event.Parse(newEvent(flat.Type, body), now)
		if (bySchema == nil) != (byParser == nil) {
			t.Errorf("%s %s:\nschema: %v\nparser: %v", flat.Type, body, bySchema, byParser)
		}
		if byParser == nil {
			taken++
		} else {
			refused++
		}
	}
	if taken < 2000 || refused < 2000 {
		t.Errorf("%d taken, %d refused: too few of one to prove anything", taken, refused)
	}
}

func TestSchemasSayWhatTheyCannotCheck(t *testing.T) {
	t.Parallel()
	schemas := compileSchemas(t)
	for _, body := range []string{`{"device":"a","device":"b"}`, `{"device":"a","\u0064evice":"a"}`, `{"x":{"a":1,"a":2}}`, `{"device":"\ud800"}`,
		`{"device":"` + strings.Repeat(" ", event.MaxData) + `"}`, `{"x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`} {
		if _, err := event.Parse(newEvent(event.TypeSessionStarted, body), now); err == nil {
			t.Errorf("the parser takes %.80s", body)
		}
	}
	for typ := range schemas {
		info, _ := event.Lookup(typ)
		comment, _ := info.Schema()["$comment"].(string)
		for _, word := range []string{"twice", "surrogate", "65536 bytes", "16 levels"} {
			if info.Flat() && !strings.Contains(comment, word) {
				t.Errorf("%s does not speak of %s: %q", typ, word, comment)
			}
		}
	}
}
