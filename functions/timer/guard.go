package timer

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"pitboss/internal/event"
	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/policy"
)

var (
	guardStopped = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pitboss_guard_rail_stopped", Help: "1 for each action that the guard rail of harm has stopped and nobody has let go again.",
	}, []string{"action"})
	guardTrials = promauto.NewCounter(prometheus.CounterOpts{
		Name: "pitboss_guard_rail_trials_total", Help: "Decisions that the guard rail of harm has counted, sent ones and held-out ones.",
	})
)

const (
	guardAlpha   = 0.05    // the chance of ever stopping a harmless action, for all actions together
	guardWaiting = 100_000 // bounds the trials that wait for their outcome
)

// guardRail is the name by which the journal says who turned a switch.
const guardRail = "guard rail"

// guard stops actions that raise markers of harm. It reads the decisions in the journal
// as they are made and compares the players who got a message with those held out. The
// intervals form a confidence sequence, which stays valid although it looks every minute.
type guard struct {
	leased
	journal *journal.Journal

	spec    *learn.Spec    // its segments split the effects; nil: there are none
	next    map[int]uint64 // by shard: the next entry to read
	trials  *policy.Trials
	open    map[uint64]bool // trial keys that wait for their outcome
	seen    []byte          // a bit for each trial key that was counted
	effects policy.Effects
	settled time.Time // effects holds the trials up to then
	stopped []string  // actions that it stopped and no person has let go
}

// noneStopped leaves one series, so that an alert can tell a zero from a metric that is
// gone.
func noneStopped() {
	guardStopped.Reset()
	guardStopped.WithLabelValues("none").Set(0)
}

func (f *Function) newGuard() *guard {
	noneStopped()
	g := &guard{journal: f.journal}
	g.leased = leased{f: f, name: "guard", every: f.cfg.GuardEvery, begin: g.begin, step: g.look,
		failed: "the guard rail of harm does not see new decisions"}
	return g
}

// look reads the new decisions, settles the trials that are due, and stops actions.
func (g *guard) look(ctx context.Context) error {
	if err := g.read(ctx); err != nil {
		return err
	}
	if err := g.settle(ctx); err != nil {
		return err
	}
	return g.stop(ctx)
}

// begin takes over what the instance before has found.
func (g *guard) begin(ctx context.Context) error {
	experiment, err := policy.ReadExperiment(filepath.Join(g.f.cfg.ModelsDir, "actions.yaml"))
	if err != nil {
		return err
	}
	if g.spec, err = learn.ReadSpec(filepath.Join(g.f.cfg.ModelsDir, "learning.yaml")); err != nil {
		return err
	}
	var state policy.Found
	raw, seen, err := g.journal.Guard(ctx)
	if err != nil {
		return err
	}
	if raw != nil {
		if err := json.Unmarshal(raw, &state); err != nil {
			return fmt.Errorf("timer: guard: %w", err)
		}
	}
	g.seen = make([]byte, journal.GuardBits/8)
	copy(g.seen, seen)
	g.settled, g.effects, g.stopped = state.Settled, policy.Restore(state.Effects), state.Stopped
	g.next, g.open = map[int]uint64{}, map[uint64]bool{}
	g.trials = policy.NewTrials(experiment, func(player, action, arm string) bool {
		k := trialKey(player, action, arm)
		if g.open[k] || g.seen[k/8]&(1<<(k%8)) != 0 {
			return true
		}
		g.open[k] = true
		return false
	}, guardWaiting)
	return nil
}

// trialKey is the bit of a player for an action and an arm.
func trialKey(player, action, arm string) uint64 {
	return xxhash.Sum64String(player+" "+action+" "+arm) % journal.GuardBits
}

// read adds the decisions that were journaled since the last read.
func (g *guard) read(ctx context.Context) error {
	shards, err := g.journal.Shards(ctx)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if shard < 0 { // the journal of operations or labels
			continue
		}
		err := g.journal.Each(ctx, shard, g.next[shard], true, func(e *journal.Entry) error {
			g.next[shard] = e.Seq + 1
			if e.Kind != journal.KindDecision {
				return nil
			}
			r, err := policy.Join(e.Open, nil)
			if err != nil {
				return err
			}
			var segments []string
			if g.spec != nil { // only segments that need nothing personal
				segments = r.Segments(g.spec, nil)
			}
			g.trials.Decision(e.KeyName, r.Input.Now, &r.Decision, segments)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settle adds the trials whose outcomes are known, and stores what was found.
func (g *guard) settle(ctx context.Context) error {
	settled := g.trials.Settled(g.f.now())
	var bits []uint64
	for _, t := range settled {
		k := trialKey(t.Player, t.Action, t.Arm)
		delete(g.open, k)
		g.seen[k/8] |= 1 << (k % 8)
		bits = append(bits, k)
		if t.At.After(g.settled) { // otherwise the instance before has counted it
			g.effects.Add(t, policy.OutcomeHarmed)
			g.effects.Add(t, policy.OutcomeStayed)
			guardTrials.Inc()
		}
	}
	if len(settled) == 0 {
		return nil
	}
	if last := settled[len(settled)-1].At; last.After(g.settled) {
		g.settled = last
	}
	return g.keep(ctx, bits)
}

// keep stores what was found, and the trial keys that were counted.
func (g *guard) keep(ctx context.Context, counted []uint64) error {
	raw, err := json.Marshal(policy.Found{Settled: g.settled, Effects: g.effects.All(), Stopped: g.stopped})
	if err != nil {
		return fmt.Errorf("timer: guard: %w", err)
	}
	return g.journal.KeepGuard(ctx, raw, counted)
}

// letGo forgets the evidence against an action that a person has let go: only new
// evidence may stop it again. It sees from the switches which actions are stopped, so it
// does not matter if an instance died between turning a switch and recording that.
func (g *guard) letGo(ctx context.Context, on []journal.SwitchChange) error {
	var now []string
	for _, c := range on {
		action, ok := strings.CutPrefix(c.Switch, policy.Switch("action", ""))
		if ok && (c.By == guardRail || slices.Contains(g.stopped, action)) {
			now = append(now, action)
		}
	}
	slices.Sort(now)
	if slices.Equal(now, g.stopped) {
		return nil
	}
	for _, action := range g.stopped {
		if !slices.Contains(now, action) {
			g.effects.Forget(action, policy.OutcomeHarmed)
		}
	}
	g.stopped = now
	return g.keep(ctx, nil)
}

// stop turns the kill switch of each action that demonstrably raises markers of harm,
// and tells consuming teams by event.
func (g *guard) stop(ctx context.Context) error {
	on, err := g.journal.Switches(ctx)
	if err != nil {
		return err
	}
	if err := g.letGo(ctx, on); err != nil {
		return err
	}
	effects := slices.DeleteFunc(g.effects.All(), func(e *policy.Effect) bool { return e.Outcome != policy.OutcomeHarmed || e.Segment != "" })
	stopped := map[string]bool{}
	noneStopped()
	for _, c := range on {
		stopped[c.Switch] = true
		if c.By == guardRail {
			guardStopped.WithLabelValues(strings.TrimPrefix(c.Switch, policy.Switch("action", ""))).Set(1)
		}
	}
	for _, e := range effects {
		i := e.Interval(guardAlpha / float64(len(effects)))
		sw := policy.Switch("action", e.Action)
		if !(i.Low > 0) || stopped[sw] {
			continue
		}
		why := fmt.Sprintf("%s raises markers of harm: %.3f more of the players who got it in arm %s showed a new one within 24 hours than of those held out (at least %.3f; %d sent, %d held out)",
			e.Action, i.Value, e.Arm, i.Low, e.Sent, e.Held)
		c := journal.SwitchChange{Switch: sw, On: true, By: guardRail, Reason: why, At: g.f.now().UTC()}
		if err := g.journal.Turn(ctx, c); err != nil {
			return err
		}
		stopped[sw] = true
		guardStopped.WithLabelValues(e.Action).Set(1)
		g.f.Log.Error("the guard rail of harm stopped an action; a person must look at it", zap.String("action", e.Action), zap.String("why", why))
		told, err := event.New(name, event.TypeSwitchTurned, sw, rand.Text(), c.At, event.SwitchTurned{What: "action", Name: e.Action, On: true, By: c.By, Reason: why})
		if err == nil {
			err = g.f.broker.Post(ctx, told)
		}
		if err != nil { // the action is stopped and journaled all the same
			g.f.Log.Warn("the event that an action was stopped was not sent", zap.Error(err))
		}
	}
	return nil
}
