package policy

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// effectWorld is players on whom two messages have known effects: call helps the young
// to stay and does nothing to the old; push makes one in ten show harm.
type effectWorld struct {
	e      Experiment
	rng    *rand.Rand
	trials *Trials
	at     time.Time
	n      int
}

func newEffectWorld(seed uint64) *effectWorld {
	w := &effectWorld{rng: rand.New(rand.NewPCG(seed, 1)), at: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	w.e = Experiment{Holdout: 0.2, Arms: []Arm{{Name: "explore", Share: 0.5, Temperature: 40}, {Name: "greedy", Share: 0.5}}}
	seen := map[string]bool{}
	w.trials = NewTrials(w.e, func(player, action, arm string) bool {
		k := player + action + arm
		defer func() { seen[k] = true }()
		return seen[k]
	}, 1<<20)
	return w
}

const (
	stayYoung, stayOld, harmBase = 0.3, 0.6, 0.02
	callOnYoung, pushHarm        = 0.2, 0.1
)

// player is one player's first decision, another of the same, and what follows.
func (w *effectWorld) player() {
	w.n++
	w.at = w.at.Add(time.Second)
	id, young := fmt.Sprint("p", w.n), w.rng.Float64() < 0.5
	age := "age=old"
	if young {
		age = "age=young"
	}
	d := &Decision{Arm: "greedy", Kind: Service, Candidates: []Candidate{{Action: "call", Kind: Service, Value: 60}, {Action: "push", Kind: Service, Value: 40}}}
	propensity := []float64{1, 0}
	switch u := w.rng.Float64(); {
	case u < w.e.Holdout:
		d.Arm, d.Holdout = HoldoutArm, true
	case w.rng.Float64() < 0.5:
		d.Arm, propensity = "explore", []float64{0.62, 0.38}
	}
	chosen := 0
	if w.rng.Float64() >= propensity[0] {
		chosen = 1
	}
	for i, p := range propensity {
		d.Candidates[i].Propensity = p
	}
	d.Issued, d.Action = !d.Holdout, d.Candidates[chosen].Action
	w.trials.Decision(id, w.at, d, []string{age})
	stay, harm := stayOld, harmBase
	if young {
		stay = stayYoung
	}
	if d.Issued && d.Action == "call" && young {
		stay += callOnYoung
	}
	if d.Issued && d.Action == "push" {
		harm += pushHarm
	}
	if w.rng.Float64() < stay {
		later := &Decision{Arm: d.Arm, Holdout: d.Holdout}
		w.trials.Decision(id, w.at.Add(time.Hour), later, nil)
	}
	if w.rng.Float64() < harm {
		later := &Decision{Arm: d.Arm, Holdout: d.Holdout, Markers: []Marker{{ID: "chasing", At: w.at.Add(time.Minute)}}}
		w.trials.Decision(id, w.at.Add(5*time.Minute), later, nil)
	}
}

// trueEffect is the effect by construction.
func trueEffect(e *Effect) float64 {
	switch {
	case e.Outcome == OutcomeHarmed && e.Action == "push":
		return pushHarm
	case e.Outcome == OutcomeStayed && e.Action == "call" && e.Segment == "age=young":
		return callOnYoung
	case e.Outcome == OutcomeStayed && e.Action == "call" && e.Segment == "":
		return callOnYoung / 2
	}
	return 0
}

// Whenever one looks, at least 95 % of the intervals of each action, arm,
// outcome and segment have held the true effect all the time; and they become
// narrow enough to tell what is there.
func TestEffectsAreFoundWheneverOneLooks(t *testing.T) {
	t.Parallel()
	const runs, players = 150, 3000
	missed, told := map[string]int{}, map[string]int{}
	for run := range runs {
		w := newEffectWorld(uint64(run))
		for range players {
			w.player()
		}
		es := Effects{}
		wrong := map[*Effect]bool{}
		for _, trial := range w.trials.Settled(w.at.Add(48 * time.Hour)) {
			for _, outcome := range []string{OutcomeStayed, OutcomeHarmed} {
				es.Add(trial, outcome)
			}
			for _, e := range es {
				if i := e.Interval(0.05); i.Low > trueEffect(e) || trueEffect(e) > i.High {
					wrong[e] = true
				}
			}
		}
		for _, e := range es.All() {
			name := fmt.Sprint(e.Action, " ", e.Arm, " ", e.Outcome, " ", e.Segment)
			if wrong[e] {
				missed[name]++
			}
			if e.Interval(0.05).Low > 0 {
				told[name]++
			}
		}
		if run == 0 && len(es) != 3*2*3 { // call in both arms, push in one; two outcomes; everybody, young and old
			t.Fatalf("%d effects", len(es))
		}
	}
	for name, n := range missed {
		if n > runs/20+7 { // 7: two standard deviations of the count
			t.Errorf("%s: missed in %d of %d runs", name, n, runs)
		}
	}
	for _, name := range []string{"call explore stayed age=young", "push explore harmed "} {
		t.Logf("%s: told in %d of %d runs", name, told[name], runs)
		if told[name] < runs*3/4 {
			t.Errorf("%s: told in %d of %d runs only", name, told[name], runs)
		}
	}
}

// A trial is a player's first one, waits for its outcome, and never is about protection.
func TestTrialsAreFirstDecisions(t *testing.T) {
	t.Parallel()
	w := newEffectWorld(1)
	d := &Decision{Issued: true, Arm: "greedy", Action: "call", Kind: Service, Candidates: []Candidate{{Action: "call", Kind: Service, Propensity: 1},
		{Action: "stop", Kind: Protection, Propensity: 1}, {Action: "no", Kind: Service, Propensity: 1, Blocked: nil}}}
	w.trials.Decision("a", w.at, d, nil)
	w.trials.Decision("a", w.at.Add(time.Minute), d, nil)
	protection := *d
	protection.Kind = Protection
	w.trials.Decision("b", w.at, &protection, nil)
	if got := w.trials.Settled(w.at.Add(trialFor)); len(got) != 0 {
		t.Fatalf("settled before its time: %+v", got[0])
	}
	got := w.trials.Settled(w.at.Add(trialFor + time.Second))
	if len(got) != 2 || got[0].Action != "call" || !got[0].Sent || got[1].Sent || got[0].Stayed {
		t.Fatalf("%d trials: %+v", len(got), got)
	}
	if len(w.trials.open) != 0 || len(w.trials.waiting) != 0 {
		t.Error("settled trials are kept")
	}
}
