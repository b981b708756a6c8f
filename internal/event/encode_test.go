package event

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// fill sets v to something random, every field at some time zero and at some
// time not.
func fill(rng *rand.Rand, v reflect.Value) {
	if rng.IntN(4) == 0 {
		return
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.UnixMicro(rng.Int64N(4e15)).In(time.FixedZone("", rng.IntN(5)*3600-7200))))
		return
	case jsontext.Value:
		v.Set(reflect.ValueOf(jsontext.Value(`{"a":1.5,"b":-3}`)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"plain", "a \"quoted\" \\ thing", "två ord", "line\nbreak\x00", "<html>&\u2028", "\x7f", "broken \xff utf-8"}[rng.IntN(7)])
	case reflect.Float64:
		v.SetFloat([]float64{0.1, 1e-7, -1.5e-300, 1e21, 123456789, -42, 1 << 53, math.Copysign(0, -1), rng.NormFloat64(), math.MaxFloat64}[rng.IntN(10)])
	case reflect.Int64:
		v.SetInt(rng.Int64() - rng.Int64())
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
		v.Set(reflect.ValueOf([]any{"text", 2.5, true, int64(7), []any{"a"}}[rng.IntN(5)]))
	default:
		panic("fill: " + v.Type().String())
	}
}

// What is written by hand is what json.Marshal writes, for all values.
func TestEncodeEqualsMarshal(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, typ := range []reflect.Type{reflect.TypeFor[PlayerUpdated](), reflect.TypeFor[PlayerScored](), reflect.TypeFor[Recommendation]()} {
		for range 3000 {
			v := reflect.New(typ)
			fill(rng, v.Elem())
			want, err := json.Marshal(v.Interface(), replying, jsontext.AllowInvalidUTF8(true))
			if err != nil {
				t.Fatal(err)
			}
			if got := v.Interface().(appender).AppendJSON(nil); string(got) != string(want) {
				t.Fatalf("%s:\n%s\njson.Marshal:\n%s", typ, got, want)
			}
		}
	}
}
