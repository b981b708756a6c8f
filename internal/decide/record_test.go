package decide

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// fill sets v to something random, every field at some time zero and at some time not.
func fill(rng *rand.Rand, v reflect.Value) {
	if rng.IntN(4) == 0 {
		return
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.UnixMilli(rng.Int64N(4e12)).UTC()))
		return
	case *Contacts:
		c := &Contacts{Bonuses: rng.Uint64N(3), Hold: time.UnixMilli(rng.Int64N(4e12)).UTC(), Sent: []Sent{{Decision: "d", Kind: 'm'}}}
		v.Set(reflect.ValueOf(c))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"plain", "a \"quoted\" thing", "två ord", "line\nbreak"}[rng.IntN(4)])
	case reflect.Float64:
		v.SetFloat([]float64{0.1, 1e-7, -42, rng.NormFloat64()}[rng.IntN(4)])
	case reflect.Int, reflect.Int64:
		v.SetInt(rng.Int64N(1 << 40))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(rng, v.Field(i))
		}
	case reflect.Slice:
		s := reflect.MakeSlice(v.Type(), rng.IntN(4), 4)
		for i := range s.Len() {
			fill(rng, s.Index(i))
		}
		v.Set(s)
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		for range rng.IntN(4) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(rng, key)
			fill(rng, value)
			m.SetMapIndex(key, value)
		}
		v.Set(m)
	case reflect.Interface:
		v.Set(reflect.ValueOf([]any{"text", 2.5}[rng.IntN(2)]))
	default:
		panic("fill: " + v.Type().String())
	}
}

// What Split writes by hand is what json.Marshal makes of the same types, and
// Join reads all of it back.
func TestSplitEqualsMarshal(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	written := json.JoinOptions(json.Deterministic(true), jsontext.AllowDuplicateNames(true))
	for range 3000 {
		var r Record
		fill(rng, reflect.ValueOf(&r).Elem())
		openPart, personalPart := r.Split()
		d := r.Decision
		d.Params = nil
		o := open{Decision: r.Input.Decision, At: r.Input.Now, Jurisdiction: r.Input.Facts.Jurisdiction, StateVersion: r.Input.StateVersion,
			FeatureSet: r.Input.FeatureSet, Killed: r.Input.Killed, Result: &d}
		for _, m := range r.Input.Models {
			o.Models = append(o.Models, model{m.Name, m.Version, m.SHA256, m.Output})
		}
		for got, v := range map[string]any{string(openPart): &o, string(personalPart): &personal{&r.Input, r.Decision.Params}} {
			want, err := json.Marshal(v, written)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Fatalf("written:\n%s\njson.Marshal:\n%s", got, want)
			}
		}
		back, err := Join(openPart, personalPart)
		if err != nil {
			t.Fatal(err)
		}
		again, sealed := back.Split()
		if !slices.Equal(again, openPart) || !slices.Equal(sealed, personalPart) {
			t.Fatalf("read back and written again:\n%s\n%s\nwas\n%s\n%s", again, sealed, openPart, personalPart)
		}
	}
}
