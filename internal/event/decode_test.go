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

// anyScored is a player.scored at random, as a function writes it.
func anyScored(rng *rand.Rand) []byte {
	var s PlayerScored
	anyvalue.Fill(rng, reflect.ValueOf(&s).Elem(), func(v reflect.Value) bool {
		switch v.Interface().(type) {
		case jsontext.Value:
			v.Set(reflect.ValueOf(jsontext.Value([]string{`{}`, `{"a":1.5,"b":-3e-7}`, `{"a":1.5,"b":[]}`, `null`}[rng.IntN(4)])))
			return true
		case string: // mostly what needs no escapes
			if rng.IntN(50) > 0 {
				v.SetString([]string{"", "x", "two words", "2026-01-02T03:04:05Z"}[rng.IntN(4)])
				return true
			}
		case time.Time:
			v.Set(reflect.ValueOf(time.UnixMicro(rng.Int64N(4e15)).UTC()))
			return true
		}
		return false
	})
	return s.AppendJSON(nil)
}

// sameAsUnmarshal holds that what the reader takes is what json.Unmarshal makes
// of it; taken says whether the reader did.
func sameAsUnmarshal(t *testing.T, data []byte) (taken bool) {
	t.Helper()
	var got, want PlayerScored
	if !got.read(data) {
		return false
	}
	if err := json.Unmarshal(data, &want, jsontext.AllowDuplicateNames(true)); err != nil {
		t.Fatalf("read, but %v: %s", err, data)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n%+v\njson.Unmarshal:\n%+v", data, got, want)
	}
	return true
}

func TestDecodeEqualsUnmarshal(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	taken := 0
	for range 20000 {
		if sameAsUnmarshal(t, anyScored(rng)) {
			taken++
		}
	}
	if taken < 2000 {
		t.Errorf("%d of 20000 were read by hand", taken)
	}
}

func FuzzDecode(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		f.Add(anyScored(rng))
	}
	f.Add([]byte(`{"scores":{"a":01}}`))
	f.Add([]byte(`{"scores":{"a":1,"a":2}}`))
	f.Add([]byte(`{"version":"x","version":"y"}`))
	f.Add([]byte(`{"trigger":{"time":"2026-01-02T03:04:05,5Z"}}`))
	f.Fuzz(func(t *testing.T, data []byte) { sameAsUnmarshal(t, data) })
}

func BenchmarkReadScored(b *testing.B) {
	rng := rand.New(rand.NewPCG(3, 4))
	var data [][]byte
	for len(data) < 64 {
		if d := anyScored(rng); new(PlayerScored).read(d) && len(d) > 800 {
			data = append(data, d)
		}
	}
	for name, read := range map[string]func([]byte) bool{
		"by hand":        func(d []byte) bool { return new(PlayerScored).read(d) },
		"json.Unmarshal": func(d []byte) bool { return json.Unmarshal(d, new(PlayerScored)) == nil },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if !read(data[i%len(data)]) {
					b.Fatal()
				}
			}
		})
	}
}

// A model may take a fact as a word. So the facts are whole, too, where an escape leaves
// the data to json.Unmarshal.
func TestReadUpdatedReadsAllFacts(t *testing.T) {
	t.Parallel()
	want := Facts{Jurisdiction: "SE", Brand: `Lucky "7"`, Tier: "gold", LastGame: "book"}
	u := PlayerUpdated{Version: "1", Features: jsontext.Value(`{"a":1}`), Facts: want}
	got, err := ReadUpdated(u.AppendJSON(nil))
	if err != nil || !reflect.DeepEqual(got.Facts, want) || string(got.Features) != `{"a":1}` {
		t.Errorf("%+v, %v: want the facts %+v", got, err, want)
	}
}

func TestReadUpdatedRefusesWhatNothingCanBeAppendedTo(t *testing.T) {
	t.Parallel()
	for _, data := range []string{``, `null`, `[]`, `{"version":`, "{}\n", `{}{}`, `{"scores":{"leave":1}}`, `{"models":null}`, `{"ranking":[]}`} {
		if _, err := ReadUpdated([]byte(data)); !IsPermanent(err) {
			t.Errorf("%q: %v, want a permanent error", data, err)
		}
	}
}
