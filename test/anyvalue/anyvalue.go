// Package anyvalue fills Go values at random, for tests that compare two encoders of a type.
package anyvalue

import (
	"math"
	"math/rand/v2"
	"reflect"
	"time"
)

var (
	texts   = []string{"plain", "a \"quoted\" \\ thing", "två ord", "line\nbreak\x00", "<html>&\u2028", "\x7f"}
	numbers = []float64{0.1, 1e-7, -1.5e-300, 1e21, 123456789, -42, 1 << 53, math.Copysign(0, -1), math.MaxFloat64}
)

// Fill sets v and everything in it at random. It leaves one field in four as it is. special,
// if not nil, sets values that their kind does not determine, and reports whether it did.
func Fill(rng *rand.Rand, v reflect.Value, special func(reflect.Value) bool) {
	if rng.IntN(4) == 0 || special != nil && special(v) {
		return
	}
	if _, ok := v.Interface().(time.Time); ok {
		v.Set(reflect.ValueOf(time.UnixMilli(rng.Int64N(4e12)).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(texts[rng.IntN(len(texts))])
	case reflect.Float64:
		v.SetFloat(append(numbers, rng.NormFloat64())[rng.IntN(len(numbers)+1)])
	case reflect.Int, reflect.Int64:
		v.SetInt(rng.Int64N(1<<41) - 1<<40)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		for i := range v.NumField() {
			Fill(rng, v.Field(i), special)
		}
	case reflect.Slice:
		s := reflect.MakeSlice(v.Type(), rng.IntN(4), 4)
		for i := range s.Len() {
			Fill(rng, s.Index(i), special)
		}
		v.Set(s)
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		for range rng.IntN(4) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			Fill(rng, key, special)
			Fill(rng, value, special)
			m.SetMapIndex(key, value)
		}
		v.Set(m)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		Fill(rng, v.Elem(), special)
	case reflect.Interface:
		v.Set(reflect.ValueOf([]any{"text", 2.5, true, []any{"a"}}[rng.IntN(4)]))
	default:
		panic("anyvalue: " + v.Type().String())
	}
}
