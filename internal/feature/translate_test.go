package feature

import (
	"math"
	"testing"
	"time"

	"pitboss/internal/event"
)

// The closures give what CEL's own interpreter gives, failures included.
func TestTranslationAgreesWithCEL(t *testing.T) {
	t.Parallel()
	info, _ := event.Lookup(event.TypeRoundSettled)
	l, err := newLanguage(dataVariables(info), eventVariables(), featureVariables([]string{"x", "y"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"data.stake", "-data.stake", "data.win - data.stake", "data.stake * data.win + 3", "data.stake / data.win", "data.stake % data.win",
		"data.win < data.stake", "data.win <= 7", "data.win >= 7", "data.win > 7", "data.win == 7", "data.win != 7",
		"x + y", "x - y", "x * y", "x / y", "-x", "x < y", "x <= y", "x >= y", "x > y", "x == y", "x != y",
		"x > 3", "3 < x", "x == 0.0", "x >= data.stake", "double(data.stake) / 4.0", "int(x)", "int(x) % 10 == 0", "double(x) > 1.5",
		"data.game == 'a'", "data.game != 'a'", "data.game in ['a', 'b']", "data.stake in [7, 9]", "!(data.stake in [7, 9])",
		"data.win > 5 && data.stake > 5", "data.win > 5 || data.stake > 5", "data.stake / data.win > 0 || true",
		"true || data.stake / data.win > 0", "false && data.stake / data.win > 0", "data.stake / data.win > 0 && false",
		"data.stake / data.win > 0 && true", "(data.win > 5) == (data.stake > 5)", "(data.win > 5) != (x > 1.0)",
		"x > 0.0 ? x / y : 1.0", "data.win > 0 ? data.stake / data.win : -1", "data.win > 5 ? 'hi' == data.game : data.stake > 9",
		"data.stake / data.win > 0 ? 1 : 2", "event.hour < 6", "event.weekday == 6", "event.day", "event.type == 'pitboss.round.settled.v1'",
		"data.stake + 9223372036854775807", "data.win * 9223372036854775807", "data.stake - 9223372036854775807 - 9",
		"data.game.startsWith('a')", "event.time.getHours() < 6", "size(data.game) > 0",
	} {
		ast, issues := l.env.Compile(text)
		if issues.Err() != nil {
			t.Errorf("%s: %v", text, issues.Err())
			continue
		}
		ours, err := l.compile(text, kindInt, kindFloat, kindBool)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		theirs := program{text: text}
		if theirs.code, err = l.interpreted(ast, kindOf(ast.OutputType())); err != nil {
			t.Fatal(err)
		}
		for _, sc := range scopes(info) {
			a, aok := ours.number(sc)
			b, bok := theirs.number(sc)
			if aok != bok || aok && a != b {
				t.Errorf("%s with %+v, x %v, y %v: %v %v, CEL says %v %v", text, sc.data, sc.vals[0], sc.vals[1], a, aok, b, bok)
			}
		}
	}
}

func scopes(info *event.Info) (out []*scope) {
	ints := []int64{0, 7, -3, 9, 1 << 40, math.MaxInt64}
	floats := []float64{0, 1.5, -3, 20, 1e300}
	n := 0
	for _, stake := range ints {
		for _, win := range ints {
			for _, x := range floats {
				n++
				out = append(out, &scope{
					data: &event.RoundSettled{Stake: stake, Win: win, Game: []string{"a", "bb", ""}[n%3]},
					typ:  info.Type, time: time.Date(2026, 1, 3, n%24, 0, 0, 0, time.UTC),
					vals: []float64{x, floats[n%len(floats)]}, have: []uint32{1, 1}, stamp: 1,
				})
			}
		}
	}
	return out
}
