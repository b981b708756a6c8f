package model

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
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

func featuresOf(x []float64, from int) string {
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
		want := map[string]float64{"leave": leave.probability(x), "harm": harm.probability([]float64{x[3], x[1]})}
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

func checkReasons(t *testing.T, got []event.Contribution, m *made, x []float64) {
	t.Helper()
	phi := shapley(m.trees, x, make([]float64, len(x)))
	if len(got) != 2 || math.Abs(got[0].Effect) < math.Abs(got[1].Effect) {
		t.Fatalf("contributions are %+v, want the 2 largest in order", got)
	}
	for _, c := range got {
		var i int
		if _, err := fmt.Sscanf(c.Feature, "f%d", &i); err != nil {
			t.Fatal(err)
		}
		if !near(c.Effect, phi[i], 1e-6) || c.Value != x[i] {
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

// A model that gives NaN or an infinity said nothing: the event goes on with
// the scores of the others. So it does where a feature is infinite as float32.
func TestAModelWithoutAFiniteScoreSaysNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	newMade("harm", "v1", 1, 3, 2, 2).write(t, root)
	silent := newMade("leave", "v1", 1, 1, 1, 1)
	silent.log = true
	silent.write(t, root)
	shadow := newMade("harm", "v2", 1, 1, 1, 1)
	shadow.log = true
	shadow.write(t, root)
	r := mustServe(t, root, "leave: {live: v1}\nharm: {live: v1, shadow: [v2]}\n")
	for _, tc := range []struct {
		features string
		scores   []string
	}{
		{`{"f0":0.5,"f1":0.5}`, []string{"harm", "leave"}},
		{`{"f0":0,"f1":0.5}`, []string{"harm"}},
		{`{"f0":-1,"f1":0.5}`, []string{"harm"}},
		{`{"f0":0.5,"f1":1e39}`, []string{"leave"}},
		{`{"f0":0.5,"f1":1e400}`, []string{"leave"}},
		{`{"f0":-1e400,"f1":1e400}`, nil},
	} {
		var out event.PlayerScored
		if err := NewScorer(r, 3).Score(updated(tc.features), &out); err != nil {
			t.Errorf("%s: %v", tc.features, err)
			continue
		}
		if got := slices.Sorted(maps.Keys(out.Scores)); !slices.Equal(got, tc.scores) {
			t.Errorf("%s: scores of %v, want of %v", tc.features, got, tc.scores)
		}
		for _, m := range out.Models {
			if _, scored := out.Scores[m.Output]; !scored || math.IsNaN(m.Score) || math.IsInf(m.Score, 0) {
				t.Errorf("%s: %s/%s is listed with a score of %v", tc.features, m.Name, m.Version, m.Score)
			}
		}
		if _, err := json.Marshal(&out); err != nil {
			t.Errorf("%s: %v", tc.features, err)
		}
	}
}

func TestProbeFindsAModelThatSaysNothing(t *testing.T) {
	t.Parallel()
	openRuntime(t)
	for what, tc := range map[string]struct {
		log  bool
		says string
	}{"trees": {false, ""}, "a logarithm": {true, "every feature 0"}} {
		m := newMade("leave", "v1", 1, 3, 2, 1)
		m.log = tc.log
		loaded, err := LoadModel(m.write(t, t.TempDir()), LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		err = loaded.Probe(nil)
		if tc.says == "" && err != nil || tc.says != "" && (!errors.Is(err, ErrNoScore) || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s: error %v, want one that says %q", what, err, tc.says)
		}
		if err := loaded.Close(); err != nil {
			t.Error(err)
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
