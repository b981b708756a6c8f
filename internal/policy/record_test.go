package policy

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/test/anyvalue"
)

// What Split writes by hand is what json.Marshal makes of the same types, and
// Join reads all of it back.
func TestSplitEqualsMarshal(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	written := json.JoinOptions(json.Deterministic(true), jsontext.AllowDuplicateNames(true))
	for range 3000 {
		var r Record
		anyvalue.Fill(rng, reflect.ValueOf(&r).Elem(), func(v reflect.Value) bool {
			if _, ok := v.Interface().(*Contacts); !ok {
				return false
			}
			v.Set(reflect.ValueOf(&Contacts{Bonuses: rng.Uint64N(3), Hold: time.UnixMilli(rng.Int64N(4e12)).UTC(), Sent: []Sent{{Decision: "d", Kind: 'm'}}}))
			return true
		})
		openPart, personalPart := r.Split()
		d := r.Decision
		d.Params = nil
		d.Markers = slices.Clone(d.Markers)
		var texts []string
		for i := range d.Markers {
			texts = append(texts, d.Markers[i].Text)
			d.Markers[i].Text = ""
		}
		o := open{Decision: r.Input.Decision, At: r.Input.Now, Jurisdiction: r.Input.Facts.Jurisdiction, Brand: r.Input.Facts.Brand, StateVersion: r.Input.StateVersion,
			FeatureSet: r.Input.FeatureSet, Killed: r.Input.Killed, Result: &d}
		for _, m := range r.Input.Models {
			o.Models = append(o.Models, model{m.Name, m.Version, m.SHA256, m.Output})
		}
		for got, v := range map[string]any{string(openPart): &o, string(personalPart): &personal{&r.Input, r.Decision.Params, texts}} {
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
