package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pitboss/internal/learn"
)

// trialRun logs decisions of an arm that explores two messages, of which b is
// accepted by more players and followed by harm as often as said, and judges a
// candidate that has learned to prefer b.
func trialRun(tb testing.TB, seed uint64, players int, harmOfB float64) (*Judgement, float64) {
	tb.Helper()
	spec := &learn.Spec{Version: 1, Mode: learn.Learning, Deviation: 50, Noise: 40, Ceiling: 1, Floor: 0.01, Draws: 32, Window: learn.Window(time.Hour),
		Rewards: map[string]map[string]float64{Service: {"accepted": 100}}}
	actions := map[string]*learn.Sums{"a": spec.NewSums(), "b": spec.NewSums()}
	for i := range 400 {
		rank := learn.Rank("issued")
		if i%3 == 0 {
			rank = learn.Rank("accepted")
			actions["b"].Add(spec.Row([]float64{1}, Service, rank, 50))
			rank = learn.Rank("issued")
		} else {
			actions["b"].Add(spec.Row([]float64{1}, Service, rank, 50))
		}
		actions["a"].Add(spec.Row([]float64{1}, Service, rank, 60))
	}
	m, err := (&learn.Snapshot{Spec: *spec, Actions: actions}).Model()
	if err != nil {
		tb.Fatal(err)
	}
	t := NewTrier(m, nil)
	rng := rand.New(rand.NewPCG(seed, 5))
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	accept := map[string]float64{"a": 0.1, "b": 0.3}
	harm := map[string]float64{"a": 0.01, "b": harmOfB, "": 0.01}
	var truth float64
	for i := range players {
		at = at.Add(time.Second)
		r := &Record{Input: Input{Player: fmt.Sprint("p", i), Decision: fmt.Sprint("d", i), Now: at}}
		r.Decision = Decision{Arm: "explore", Kind: Service, Candidates: []Candidate{{Action: "a", Kind: Service, Value: 60, Propensity: 0.56}, {Action: "b", Kind: Service, Value: 50, Propensity: 0.44}}}
		d := &r.Decision
		chosen := 0
		if rng.Float64() >= 0.56 {
			chosen = 1
		}
		d.Action, d.Propensity, d.Issued = d.Candidates[chosen].Action, d.Candidates[chosen].Propensity, true
		if rng.Float64() < 0.1 {
			d.Arm, d.Holdout, d.Issued = HoldoutArm, true, false
		}
		t.Decision(r, nil, "salt")
		options, _ := learnedOptions(d.Candidates)
		p := t.chances(m, r, nil, "salt", options)
		truth += (p[0]*accept["a"] + p[1]*accept["b"] - accept["a"]) * 100 / float64(players)
		done := d.Action
		if !d.Issued {
			done = ""
		}
		if rng.Float64() < accept[done] {
			t.Outcome(&Outcome{Decision: r.Input.Decision, Status: "accepted", At: at.Add(time.Minute)})
		}
		if rng.Float64() < harm[done] {
			later := &Record{Input: Input{Player: r.Input.Player, Decision: "l" + r.Input.Decision, Now: at.Add(time.Hour)},
				Decision: Decision{Kind: Protection, Issued: true, Markers: []Marker{{ID: "chasing", At: at.Add(time.Hour)}}}}
			t.Decision(later, nil, "salt")
		}
	}
	return t.Judge(DefaultGate, at.Add(25*time.Hour)), truth
}

// The difference's interval holds the truth about as often as it says.
func TestJudgementsIntervals(t *testing.T) {
	t.Parallel()
	const runs = 200
	held := 0
	for run := range runs {
		j, truth := trialRun(t, uint64(run), 800, 0.01)
		if d := j.Measures[0].Difference; d.Low <= truth && truth <= d.High {
			held++
		}
	}
	t.Logf("the truth was held in %d of %d", held, runs)
	if share := float64(held) / runs; share < .92 || share > .98 {
		t.Errorf("the interval held the truth in %.3f of the runs", share)
	}
}

// What earns more passes the gate; what harms does not, however much it earns;
// nor does what the journal says too little about.
func TestGate(t *testing.T) {
	t.Parallel()
	if j, _ := trialRun(t, 1, 4000, 0.01); len(j.Refused) > 0 {
		t.Errorf("refused: %v", j.Refused)
	}
	if j, _ := trialRun(t, 1, 4000, 0.1); len(j.Refused) != 1 || !strings.Contains(j.Refused[0], "harmed") {
		t.Errorf("harms, and: %v", j.Refused)
	}
	if j, _ := trialRun(t, 1, 100, 0.01); len(j.Refused) != 1 || !strings.Contains(j.Refused[0], "only") {
		t.Errorf("of 100 decisions: %v", j.Refused)
	}
}

// An outcome after the window, and one of another arm's decision, count for nothing.
func TestJudgementKeepsTheWindow(t *testing.T) {
	t.Parallel()
	m, err := (&learn.Snapshot{Spec: *learnedSpec()}).Model()
	if err != nil {
		t.Fatal(err)
	}
	tr := NewTrier(m, nil)
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for i, propensity := range []float64{0.5, 1} {
		id := fmt.Sprint("d", i)
		tr.Decision(&Record{Input: Input{Player: "p", Decision: id, Now: at}, Decision: Decision{Issued: true, Action: "a", Kind: Service, Propensity: propensity,
			Candidates: []Candidate{{Action: "a", Kind: Service, Value: 1, Propensity: propensity}}}}, nil, "")
		tr.Outcome(&Outcome{Decision: id, Status: "accepted", At: at.Add(2 * time.Hour)})
	}
	if j := tr.Judge(DefaultGate, at.Add(25*time.Hour)); j.Choices != 1 || j.Measures[0].Candidate.IPS.Value != 0 {
		t.Errorf("%+v", j)
	}
}

// Outcomes that have not come yet do not make a policy look worse than it is, nor
// the one whose outcomes come later: only decisions whose time is over count. With
// all of them, the known difference would be missed.
func TestJudgementsWaitForOutcomes(t *testing.T) {
	t.Parallel()
	spec := &learn.Spec{Version: 1, Mode: learn.Learning, Deviation: 50, Noise: 40, Ceiling: 1, Floor: 0.01, Draws: 32, Window: learn.Window(20 * time.Hour),
		Rewards: map[string]map[string]float64{Service: {"accepted": 100}}}
	sums := map[string]*learn.Sums{"a": spec.NewSums(), "b": spec.NewSums()}
	for i := range 600 {
		sums["a"].Add(spec.Row([]float64{1}, Service, learn.Rank("issued"), 10))
		sums["b"].Add(spec.Row([]float64{1}, Service, learn.Rank([]string{"accepted", "issued", "issued"}[i%3]), 10))
	}
	m, err := (&learn.Snapshot{Spec: *spec, Actions: sums}).Model()
	if err != nil {
		t.Fatal(err)
	}
	accept := map[string]float64{"a": 0.2, "b": 0.4}
	var bias, naive float64 // of the difference, which is 20 where b is always chosen instead of a
	const runs, decisions = 60, 900
	held := 0
	for run := range runs {
		rng := rand.New(rand.NewPCG(uint64(run), 9))
		tr := NewTrier(m, nil)
		begin := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
		now := begin.Add(48 * time.Hour) // a decision every 192 s
		var truth float64
		for i := range decisions {
			at := begin.Add(time.Duration(i) * 48 * time.Hour / decisions)
			r := &Record{Input: Input{Player: fmt.Sprint("p", i), Decision: fmt.Sprint("d", i), Now: at}}
			r.Decision = Decision{Arm: "explore", Kind: Service, Issued: true, Propensity: 0.5,
				Candidates: []Candidate{{Action: "a", Kind: Service, Value: 11, Propensity: 0.5}, {Action: "b", Kind: Service, Value: 10, Propensity: 0.5}}}
			r.Decision.Action = r.Decision.Candidates[rng.IntN(2)].Action
			tr.Decision(r, nil, "salt")
			options, _ := learnedOptions(r.Decision.Candidates)
			truth += 20 * tr.chances(m, r, nil, "salt", options)[1] / decisions
			came := at.Add(time.Duration(rng.Float64() * 20 * float64(time.Hour)))
			if rng.Float64() < accept[r.Decision.Action] && came.Before(now) {
				tr.Outcome(&Outcome{Decision: r.Input.Decision, Status: "accepted", At: came})
			}
		}
		j := tr.Judge(DefaultGate, now)
		all := tr.Judge(DefaultGate, now.Add(48*time.Hour)).Measures[0].Difference
		if j.Choices+j.Waiting != decisions || j.Choices < decisions/3 || j.Waiting < decisions/3 {
			t.Fatalf("%d choices count, %d wait", j.Choices, j.Waiting)
		}
		d := j.Measures[0].Difference
		if d.Low <= truth && truth <= d.High {
			held++
		}
		bias, naive = bias+(d.Value-truth)/runs, naive+(all.Value-truth)/runs
	}
	t.Logf("bias %.2f, with decisions that wait %.2f, of 20; the interval held the truth in %d of %d", bias, naive, held, runs)
	if bias < -1.5 || bias > 1.5 || held < runs*85/100 {
		t.Errorf("the difference is off by %.2f, and held in %d of %d", bias, held, runs)
	}
	if naive > -3 {
		t.Errorf("with decisions that wait it is off by %.2f only: the test shows nothing", naive)
	}
}
