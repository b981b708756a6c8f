package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pitboss/internal/event"
)

// stream is a sequence of players, with the acceptance rate of each action.
type stream struct {
	Name    string    `json:"name"`
	Actions []string  `json:"-"`
	Guesses []float64 `json:"-"` // the values in actions.yaml
	Rates   []float64 `json:"-"` // the rates of acceptance
	Players int       `json:"players"`
	// Deviation and Noise replace those of learning.yaml unless they are 0.
	Deviation float64 `json:"-"`
	Noise     float64 `json:"-"`
}

// reward is learning.yaml's reward for accepted marketing.
const reward = 100

// hillstrom has the rates of the public Hillstrom e-mail test, and initial values that say
// the opposite.
func hillstrom(players int) stream {
	return stream{Name: "Hillstrom's rates, wrong prior", Actions: []string{"no_mail", "mail_womens", "mail_mens"},
		Guesses: []float64{18, 15, 10}, Rates: []float64{0.106, 0.151, 0.183}, Players: players}
}

// regret is what choosing loses against always choosing the best action, in expected
// acceptances.
type regret struct {
	stream
	Runs int `json:"runs"`
	// Pitboss chooses through decide and learns through feedback.
	Pitboss     []float64 `json:"pitboss"`
	PitbossMean float64   `json:"pitboss_mean"`
	Seconds     float64   `json:"seconds"` // duration of a replay
	Uniform     float64   `json:"uniform"`
	Thompson    float64   `json:"thompson"` // Beta-Bernoulli, mean of 200 runs
	// Values is the regret of always choosing the highest value of actions.yaml. It is nil
	// if several are the highest, since their order in the file means nothing.
	Values *float64 `json:"values,omitempty"`
}

// measure replays the stream runs times.
func (s stream) measure(ctx context.Context, models string, runs, seed int) (*regret, error) {
	out := &regret{stream: s, Runs: runs, Uniform: s.uniform(), Values: s.values(), Thompson: s.thompson(200)}
	for run := range runs {
		began := time.Now()
		lost, err := s.replay(ctx, models, uint64(seed+run))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		out.Pitboss = append(out.Pitboss, math.Round(lost*10)/10)
		out.PitbossMean += lost / float64(runs)
		out.Seconds += time.Since(began).Seconds() / float64(runs)
	}
	return out, nil
}

// workers is how many decisions are made at once.
const workers = 8

// replay makes one decision about each player of the stream, on an empty Redis, and sends
// feedback the outcome.
func (s stream) replay(ctx context.Context, models string, seed uint64) (lost float64, err error) {
	r, err := newRig(ctx, models, s)
	if err != nil {
		return 0, err
	}
	defer r.close(ctx)
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(workers)
	for i := range s.Players {
		g.Go(func() error {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			chosen, err := s.one(ctx, r, fmt.Sprintf("p%d-%d", seed, i), rng)
			mu.Lock()
			defer mu.Unlock()
			lost += slices.Max(s.Rates) - s.rate(chosen)
			return err
		})
	}
	return lost, g.Wait()
}

// rate is the acceptance rate of the action, or of the worst one if nothing was sent.
func (s stream) rate(chosen int) float64 {
	if chosen < 0 {
		return slices.Min(s.Rates)
	}
	return s.Rates[chosen]
}

func (s stream) one(ctx context.Context, r *rig, id string, rng *rand.Rand) (chosen int, err error) {
	out, rec, err := r.decision(ctx, id, map[string]float64{"leave": rng.Float64(), "harm": 0.01})
	if err != nil || out.Type() != event.TypeRecommendation {
		return -1, err
	}
	if chosen = slices.Index(s.Actions, rec.Action); chosen < 0 {
		return -1, fmt.Errorf("decide sent %s", rec.Action)
	}
	if err := r.outcome(ctx, out, rec, event.TypeRecommendation); err != nil {
		return chosen, err
	}
	if rng.Float64() < s.Rates[chosen] {
		return chosen, r.outcome(ctx, out, rec, event.TypeAccepted)
	}
	return chosen, nil
}

// uniform is the regret of choosing at random.
func (s stream) uniform() (lost float64) {
	for _, p := range s.Rates {
		lost += (slices.Max(s.Rates) - p) / float64(len(s.Rates)) * float64(s.Players)
	}
	return lost
}

// values is the regret of always choosing the highest value of actions.yaml, or nil if
// several are the highest.
func (s stream) values() *float64 {
	var tops []int
	for i, g := range s.Guesses {
		if g == slices.Max(s.Guesses) {
			tops = append(tops, i)
		}
	}
	if len(tops) > 1 {
		return nil
	}
	lost := (slices.Max(s.Rates) - s.Rates[tops[0]]) * float64(s.Players)
	return &lost
}

func (r *regret) String() string {
	values := ""
	if r.Values != nil {
		values = fmt.Sprintf(", the values alone %.0f", *r.Values)
	}
	return fmt.Sprintf("%s: %d actions, %d players, lost against the best: Pitboss %.0f (%v), uniform %.0f%s, plain Thompson %.0f; %.0f s a replay",
		r.Name, len(r.Actions), r.Players, r.PitbossMean, r.Pitboss, r.Uniform, values, r.Thompson, r.Seconds)
}

// thompson is the regret of plain Thompson sampling with a flat Beta prior that gets each
// outcome at once.
func (s stream) thompson(runs int) float64 {
	var lost float64
	rng := rand.New(rand.NewPCG(1, 2))
	for range runs {
		hits, misses := make([]float64, len(s.Rates)), make([]float64, len(s.Rates))
		for range s.Players {
			best, top := 0, -1.0
			for a := range s.Rates {
				if v := beta(rng, 1+hits[a], 1+misses[a]); v > top {
					best, top = a, v
				}
			}
			lost += slices.Max(s.Rates) - s.Rates[best]
			if rng.Float64() < s.Rates[best] {
				hits[best]++
			} else {
				misses[best]++
			}
		}
	}
	return lost / float64(runs)
}

func beta(rng *rand.Rand, a, b float64) float64 {
	x, y := gamma(rng, a), gamma(rng, b)
	return x / (x + y)
}

// gamma draws from Gamma(shape ≥ 1, 1) (Marsaglia and Tsang 2000).
func gamma(rng *rand.Rand, shape float64) float64 {
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v *= v * v
		if math.Log(rng.Float64()) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
