package event

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/test/anyvalue"
)

// What is written by hand is what json.Marshal writes, for all values.
func TestEncodeEqualsMarshal(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, typ := range []reflect.Type{reflect.TypeFor[PlayerUpdated](), reflect.TypeFor[PlayerScored](), reflect.TypeFor[Recommendation]()} {
		for range 3000 {
			v := reflect.New(typ)
			anyvalue.Fill(rng, v.Elem(), func(v reflect.Value) bool {
				switch v.Interface().(type) {
				case time.Time: // with a zone
					v.Set(reflect.ValueOf(time.UnixMicro(rng.Int64N(4e15)).In(time.FixedZone("", rng.IntN(5)*3600-7200))))
				case jsontext.Value:
					v.Set(reflect.ValueOf(jsontext.Value(`{"a":1.5,"b":-3}`)))
				default:
					return false
				}
				return true
			})
			want, err := json.Marshal(v.Interface(), replying)
			if err != nil {
				t.Fatal(err)
			}
			if got := v.Interface().(appender).AppendJSON(nil); string(got) != string(want) {
				t.Fatalf("%s:\n%s\njson.Marshal:\n%s", typ, got, want)
			}
		}
	}
}
