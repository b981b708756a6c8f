package decide

import (
	"slices"
	"testing"
)

func TestVector(t *testing.T) {
	t.Parallel()
	names, empty := []string{"a", "b", "c"}, []float64{7, 8, 9}
	for _, c := range []struct {
		raw     string
		want    []float64
		missing []string
	}{
		{`{"a":1,"b":-2.5,"c":1e+09}`, []float64{1, -2.5, 1e9}, nil},
		{` { "a" : 1 , "b" : 2 , "c" : 3 } `, []float64{1, 2, 3}, nil},
		{`{"c":3,"b":2,"a":1}`, []float64{1, 2, 3}, nil},
		{`{"a":1,"z":9,"b":2,"c":3}`, []float64{1, 2, 3}, nil},
		{`{"a":1,"b":2,"c":3,"z":9}`, []float64{1, 2, 3}, nil},
		{`{"z":9,"a":0.1,"b":0.2,"c":0.30000000000004}`, []float64{0.1, 0.2, 0.30000000000004}, nil},
		{`{"a":1,"b":2}`, []float64{1, 2, 9}, []string{"c"}},
		{`{"b":2,"c":3}`, []float64{7, 2, 3}, []string{"a"}},
		{`{}`, empty, names},
	} {
		got, missing, err := vector([]byte(c.raw), names, empty)
		if err != nil || !slices.Equal(got, c.want) || !slices.Equal(missing, c.missing) {
			t.Errorf("%s: %v, missing %v, %v", c.raw, got, missing, err)
		}
	}
	for _, raw := range []string{`{"a":1,"b":"2","c":3}`, `{"a":1,"b":null,"c":3}`, `[1,2,3]`, `null`, `{"a":1,"a":1,"b":2}`, ``, `{"a":1,"b":2,"c":}`, `{"a":1,"b":2,"c":NaN}`} {
		if got, _, err := vector([]byte(raw), names, empty); err == nil {
			t.Errorf("%s: %v", raw, got)
		}
	}
}
