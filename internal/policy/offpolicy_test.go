package policy

import (
	"compress/gzip"
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json"
)

// impression is one line of the Open Bandit Dataset.
type impression struct {
	item, position int
	click          float64
	propensity     float64
}

func openBandit(t *testing.T, name string) []impression {
	t.Helper()
	dir := os.Getenv("PITBOSS_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	file, err := os.Open(filepath.Join(dir, "obd", name))
	if err != nil {
		t.Skipf("the data folder is absent (PITBOSS_DATA): %v", err)
	}
	defer file.Close()
	zr, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(zr).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	col := map[string]int{}
	for i, name := range lines[0] {
		col[name] = i
	}
	var out []impression
	for _, l := range lines[1:] {
		var x impression
		var errs [4]error
		x.item, errs[0] = strconv.Atoi(l[col["item_id"]])
		x.position, errs[1] = strconv.Atoi(l[col["position"]])
		x.click, errs[2] = strconv.ParseFloat(l[col["click"]], 64)
		x.propensity, errs[3] = strconv.ParseFloat(l[col["propensity_score"]], 64)
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, x)
	}
	return out
}

func clickThrough(xs []impression) float64 {
	var sum float64
	for _, x := range xs {
		sum += x.click
	}
	return sum / float64(len(xs))
}

func TestOffPolicyOnOpenBandit(t *testing.T) {
	t.Parallel()
	for _, campaign := range []string{"men", "women"} {
		bts, random := openBandit(t, "bts-"+campaign+".csv.gz"), openBandit(t, "random-"+campaign+".csv.gz")
		for name, log := range map[string][]impression{"bts": bts, "random": random} {
			var on []loggedChoice
			for _, x := range log {
				on = append(on, loggedChoice{Reward: x.click, Propensity: x.propensity, Target: x.propensity})
			}
			got := evaluateOffPolicy(on)
			if want := clickThrough(log); math.Abs(got.IPS.Value-want) > 1e-12 || math.Abs(got.SNIPS.Value-want) > 1e-12 {
				t.Errorf("%s of %s on its own log: IPS %v, SNIPS %v, click-through %v", name, campaign, got.IPS, got.SNIPS, want)
			}
		}
		got := evaluateOffPolicy(btsOnRandom(bts, random))
		own := Proportion(int(math.Round(clickThrough(bts)*float64(len(bts)))), len(bts))
		t.Logf("%s: BTS by the random log: IPS %.4f, SNIPS %.4f, DR %.4f (%d impressions, worth %.0f); its own log: %.4f [%.4f, %.4f]",
			campaign, got.IPS, got.SNIPS, got.DR, got.N, got.Effective, own.Value, own.Low, own.High)
		for name, e := range map[string]Estimate{"IPS": got.IPS, "SNIPS": got.SNIPS, "DR": got.DR} {
			if e.Low > own.High || e.High < own.Low {
				t.Errorf("%s: %s %.4f and BTS's own %.4f don't overlap", campaign, name, e, own)
			}
		}
	}
}

// btsOnRandom weighs the random log by BTS's choice probabilities, which are
// the mean of its logged propensities per item and position (BTS of this data
// set does not look at the context). An item that BTS never showed in the small
// file counts as never chosen: that is a bias of the small file.
func btsOnRandom(bts, random []impression) []loggedChoice {
	type place struct{ item, position int }
	sum, n := map[place]float64{}, map[place]float64{}
	for _, x := range bts {
		sum[place{x.item, x.position}] += x.propensity
		n[place{x.item, x.position}]++
	}
	clicks := map[place][2]float64{}
	for i, x := range random {
		c := clicks[place{x.item, i & 1}]
		clicks[place{x.item, i & 1}] = [2]float64{c[0] + x.click, c[1] + 1}
	}
	target := func(p place) float64 {
		if n[p] == 0 {
			return 0
		}
		return sum[p] / n[p]
	}
	total := map[int]float64{}
	for p := range n {
		total[p.position] += target(p)
	}
	var out []loggedChoice
	for i, x := range random {
		guess := func(item int) float64 { // from the other half of the log
			c := clicks[place{item, 1 - i&1}]
			return c[0] / max(c[1], 1)
		}
		l := loggedChoice{Reward: x.click, Propensity: x.propensity, Fitted: guess(x.item),
			Target: target(place{x.item, x.position}) / total[x.position]}
		for p := range n {
			if p.position == x.position {
				l.Direct += target(p) / total[p.position] * guess(p.item)
			}
		}
		out = append(out, l)
	}
	return out
}

// A log whose truth is known: the estimators' intervals hold it about as often
// as they say.
func TestOffPolicyIntervals(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	rewards, logged, target := []float64{.1, .3, .6}, []float64{.5, .3, .2}, []float64{.1, .2, .7}
	truth := 0.0
	for i := range rewards {
		truth += rewards[i] * target[i]
	}
	const runs = 1000
	var held [3]int
	for range runs {
		var log []loggedChoice
		for range 1000 {
			a, u := 0, rng.Float64()
			for u -= logged[a]; u > 0 && a < 2; u -= logged[a] {
				a++
			}
			l := loggedChoice{Propensity: logged[a], Target: target[a], Fitted: .3, Direct: .3}
			if rng.Float64() < rewards[a] {
				l.Reward = 1
			}
			log = append(log, l)
		}
		got := evaluateOffPolicy(log)
		for i, e := range []Estimate{got.IPS, got.SNIPS, got.DR} {
			if e.Low <= truth && truth <= e.High {
				held[i]++
			}
		}
	}
	for i, h := range held {
		if share := float64(h) / runs; share < .94 || share > .975 {
			t.Errorf("estimator %d: the interval held the truth in %.3f of the runs", i, share)
		}
	}
}

// The estimators are numpy's to 1e-12: models/train/estimators.py.
func TestEstimatorsEqualNumpys(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/estimators.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Log            []loggedChoice `json:"log"`
		Effective      float64        `json:"effective"`
		IPS, SNIPS, DR [3]float64
	}
	if err := json.Unmarshal(body, &cases, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		got := evaluateOffPolicy(c.Log)
		for name, pair := range map[string][2][3]float64{"IPS": {got.IPS.all(), c.IPS}, "SNIPS": {got.SNIPS.all(), c.SNIPS}, "DR": {got.DR.all(), c.DR},
			"effective": {{got.Effective}, {c.Effective}}} {
			for i, want := range pair[1] {
				if math.Abs(pair[0][i]-want) > 1e-12*max(1, math.Abs(want)) {
					t.Errorf("%d rows: %s %v, numpy %v", len(c.Log), name, pair[0], pair[1])
				}
			}
		}
	}
	if len(cases) != 3 {
		t.Errorf("%d cases", len(cases))
	}
}

func (e Estimate) all() [3]float64 { return [3]float64{e.Value, e.Low, e.High} }
