package model

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"pitboss/internal/event"
)

// serve writes serving.yaml and opens a registry over root.
func serve(t testing.TB, root, serving string) (*Registry, error) {
	t.Helper()
	openRuntime(t)
	put(t, filepath.Join(root, "serving.yaml"), []byte(serving))
	r, err := Open(Config{Dir: root})
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, err
}

func mustServe(t testing.TB, root, serving string) *Registry {
	t.Helper()
	r, err := serve(t, root, serving)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func updated(features string) *event.PlayerUpdated {
	return &event.PlayerUpdated{Version: "0123456789abcdef", AsOf: time.Unix(1700000000, 0).UTC(),
		Due: []string{"round"}, Features: jsontext.Value(features), FeatureSet: "abc", Facts: event.Facts{Jurisdiction: "SE"}}
}

func featuresOf(x []float32, from int) string {
	var parts []string
	for i, v := range x {
		parts = append(parts, fmt.Sprintf(`"f%d":%v`, from+i, v))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestScoreRunsLiveAndShadowModelsByFeatureName(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	leave, shadow, harm := newMade("leave", "v1", 1, 9, 4, 4), newMade("leave", "v2", 2, 9, 4, 4), newMade("harm", "v1", 3, 9, 4, 2)
	harm.features = []string{"f3", "f1"} // another order, fewer columns
	for _, m := range []*made{leave, shadow, harm} {
		m.write(t, root)
	}
	r := mustServe(t, root, "leave: {live: v1, shadow: [v2]}\nharm: {live: v1}\n")
	in := updated("")
	for _, x := range rows(1, 20, 4) {
		in.Features = jsontext.Value(`{"unused":1e300, "f3":` + fmt.Sprint(x[3]) + `,` + featuresOf(x[:3], 0)[1:])
		var out event.PlayerScored
		if err := NewScorer(r, 2).Score(in, &out); err != nil {
			t.Fatal(err)
		}
		want := map[string]float64{"leave": leave.probability(x), "harm": harm.probability([]float32{x[3], x[1]})}
		for name, p := range want {
			if !near(out.Scores[name], p, scoreTolerance) {
				t.Errorf("%s is %v, want %v", name, out.Scores[name], p)
			}
		}
		if len(out.Scores) != 2 || out.Version != in.Version || out.Facts.Jurisdiction != "SE" || string(out.Features) != string(in.Features) {
			t.Errorf("the input is not carried through: %+v", out)
		}
		if len(out.Models) != 3 || out.Models[0].Name != "harm" || out.Models[2].Version != "v2" || !out.Models[2].Shadow {
			t.Fatalf("models are %+v", out.Models)
		}
		if got := out.Models[2].Score; !near(got, shadow.probability(x), scoreTolerance) {
			t.Errorf("the shadow scored %v, want %v", got, shadow.probability(x))
		}
		checkReasons(t, out.Models[1].Contributions, leave, x)
	}
}

func checkReasons(t *testing.T, got []event.Contribution, m *made, x []float32) {
	t.Helper()
	phi := shapley(m.trees, x, make([]float32, len(x)))
	if len(got) != 2 || math.Abs(got[0].Effect) < math.Abs(got[1].Effect) {
		t.Fatalf("contributions are %+v, want the 2 largest in order", got)
	}
	for _, c := range got {
		var i int
		if _, err := fmt.Sscanf(c.Feature, "f%d", &i); err != nil {
			t.Fatal(err)
		}
		if !near(c.Effect, phi[i], 1e-6) || float32(c.Value) != x[i] {
			t.Errorf("contribution %+v, want effect %v of value %v", c, phi[i], x[i])
		}
	}
	for i, p := range phi {
		if math.Abs(p) > math.Abs(got[1].Effect)+1e-6 && fmt.Sprintf("f%d", i) != got[0].Feature {
			t.Errorf("f%d moved the score by %v and is not among %+v", i, p, got)
		}
	}
}

func TestScoreRefusesBadFeaturesForGood(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	newMade("leave", "v1", 1, 3, 2, 2).write(t, root)
	r := mustServe(t, root, "leave: {live: v1}\n")
	for _, tc := range []struct {
		features, says string
		is             error
	}{
		{`{"f0":1}`, "f1, for model leave/v1", ErrMissingFeature},
		{`{"f0":1,"f1":1e400}`, "f1", ErrNotFinite},
		{`{"f0":1,"f1":1e39}`, "f1", ErrNotFinite}, // infinite as float32
		{`{"f0":1,"f1":null}`, "f1 must be a number", nil},
		{`{"f0":1,"f1":"NaN"}`, "f1 must be a number", nil},
		{`{"f0":1,"f1":NaN}`, "features", nil},
		{`{"f0":1,"f1":2`, "features", nil},
		{`[1,2]`, "object", nil},
		{``, "object", nil},
	} {
		var out event.PlayerScored
		err := NewScorer(r, 3).Score(updated(tc.features), &out)
		if err == nil || !event.IsPermanent(err) || !strings.Contains(err.Error(), tc.says) || (tc.is != nil && !errors.Is(err, tc.is)) {
			t.Errorf("%s: error %v, want a permanent one that says %q", tc.features, err, tc.says)
		}
	}
}

func TestAShadowThatLacksAFeatureIsLeftOut(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	newMade("leave", "v1", 1, 3, 2, 2).write(t, root)
	newMade("leave", "v2", 1, 3, 2, 3).write(t, root)
	r := mustServe(t, root, "leave: {live: v1, shadow: [v2]}\n")
	var out event.PlayerScored
	if err := NewScorer(r, 3).Score(updated(`{"f0":0.5,"f1":0.5}`), &out); err != nil || len(out.Models) != 1 {
		t.Errorf("%d models, %v; want the live one alone", len(out.Models), err)
	}
}

func TestNothingIsScoredBeforeAModelIsLoaded(t *testing.T) {
	t.Parallel()
	r, err := serve(t, t.TempDir(), "leave: {live: v1}\n")
	if err == nil {
		t.Fatal("opened without a model")
	}
	var out event.PlayerScored
	if err := NewScorer(r, 3).Score(updated(`{}`), &out); !errors.Is(err, ErrNotLoaded) || event.IsPermanent(err) {
		t.Errorf("error %v, want %v, which may be retried", err, ErrNotLoaded)
	}
}
