package policy

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pitboss/internal/event"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func row(player string, at time.Time, kind string, markers int, holdout bool, outcomes ...string) Row {
	d := &Decision{Issued: !holdout, Action: kind + "_action", Kind: kind, Arm: "a", Holdout: holdout, Propensity: 1, Markers: make([]Marker, markers)}
	if holdout {
		d.Arm = HoldoutArm
	}
	return Row{Player: player, At: at, Choice: choiceOf(d, strings.Clone), Outcomes: outcomes}
}

func reported(p *Policy, rows []Row) Report {
	r := NewRows(p)
	r.list = rows
	return r.Report()
}

// about is a figure as it should be.
func about(s Share, value float64, of int) bool {
	return s.Of == of && s.Estimate != nil && s.Estimate.Value > value-1e-9 && s.Estimate.Value < value+1e-9
}

// Protection is measured by what protects and never by whether the player plays
// on, nor against the holdout; the rest by what it is for.
func TestReportMeasuresEachKindByItsOwn(t *testing.T) {
	t.Parallel()
	var rows []Row
	for n := range 40 {
		p := fmt.Sprint("p", n)
		rows = append(rows, row(p, noon, Protection, 1, false))
		later := noon.Add(2 * time.Hour)
		if n%4 == 0 { // plays straight on, and still shows the marker
			rows = append(rows, row(p, noon.Add(time.Minute), Protection, 1, false), row(p, later, Service, 1, false, "delivered"))
			continue
		}
		rows = append(rows, row(p, later, Service, 0, false, "delivered", "accepted"))
	}
	for n := range 10 {
		rows = append(rows, row(fmt.Sprint("h", n), noon, Service, 0, true))
	}
	p := *policy(t)
	p.file.Experiment.Holdout = 0.2
	rep := reported(&p, rows)
	if len(rep.Lines) != 2 || rep.Players != 50 || rep.HeldOut != 10 || rep.Mismatch {
		t.Fatalf("%+v", rep)
	}
	protection, service := rep.Lines[0], rep.Lines[1]
	if protection.Kind != Protection || protection.Protected == nil || protection.Reached.Of+protection.Holdout.Of+protection.Uplift.Of > 0 {
		t.Errorf("protection is measured by who plays on: %+v", protection)
	}
	if x := protection.Protected; protection.Players != 40 || !about(x.Paused, 0.75, 40) || !about(x.Cleared, 0.75, 40) {
		t.Errorf("%+v", x)
	}
	if service.Kind != Service || !about(service.Taken, 0.75, 40) || service.Protected != nil || service.Detectable <= 0 || service.Needed <= 0 {
		t.Errorf("%+v", service)
	}
	if service.Reached.Of > 0 {
		t.Errorf("who stays is told before the day is over: %+v", service.Reached)
	}
	p.file.Experiment.Holdout = 0.6
	if rep = reported(&p, rows); !rep.Mismatch {
		t.Error("10 of 50 held out, 30 were meant to be, and nobody is told")
	}
}

// What is staked and deposited, limits and breaks are those of the day after each
// player's first message, and of players of whom that day is known.
func TestProtectionIsMeasuredByTheDayAfter(t *testing.T) {
	t.Parallel()
	known := func(staked, day, deposited float64) *Known {
		return &Known{values: []float64{staked, day, deposited, day / 2, 0, 0, 0, 0}}
	}
	var rows []Row
	add := func(player string, after time.Duration, kind string, k *Known) {
		r := row(player, noon.Add(after), kind, 0, false)
		r.Known = k
		rows = append(rows, r)
	}
	for n := range 40 {
		p := fmt.Sprint("p", n)
		add(p, 0, Protection, known(1000, 400, 500))
		switch {
		case n < 8: // is not seen again: stakes and deposits nothing
		case n < 30: // half as much of both
			add(p, time.Hour, Service, known(1100, 0, 500))
			k := known(1200, 0, 600)
			if n < 18 {
				k.Limits = map[string]event.Limit{"deposit/day": {Amount: 500}}
			}
			if n < 13 {
				k.Exclusions = []event.Exclusion{{Scheme: "operator", Since: noon.Add(time.Hour)}}
			}
			add(p, 20*time.Hour, Service, k)
			add(p, 30*time.Hour, Service, known(9000, 0, 9000)) // the day is over
		default: // more than before, after another message that counts no second time
			add(p, time.Hour, Protection, known(1900, 0, 1900))
		}
	}
	for n := range 15 {
		add(fmt.Sprint("erased", n), 0, Protection, nil)
		add(fmt.Sprint("today", n), 29*time.Hour, Protection, known(5, 5, 5))
		new := fmt.Sprint("newcomer", n) // of whom there is no day before
		add(new, 0, Protection, known(0, 0, 0))
	}
	rep := reported(policy(t), rows)
	x := rep.Lines[0].Protected
	if rep.Lines[0].Players != 85 || !about(x.LimitSet, 10.0/55, 55) || !about(x.Break, 5.0/55, 55) {
		t.Errorf("%d players, limits %+v, breaks %+v", rep.Lines[0].Players, x.LimitSet, x.Break)
	}
	if !about(x.StakedLess, 30.0/40, 40) || !about(x.DepositedLess, 30.0/40, 40) || !about(x.StakeChange, -0.5, 40) || !about(x.DepositChange, -0.5, 40) {
		t.Errorf("staked %+v %+v, deposited %+v %+v", x.StakedLess, x.StakeChange.Estimate, x.DepositedLess, x.DepositChange.Estimate)
	}
	if d, more := powerOfOne(40); rep.Lines[0].Detectable != d || rep.Lines[0].Needed != more || more != 785-40 {
		t.Errorf("can show %v, %d more needed", rep.Lines[0].Detectable, rep.Lines[0].Needed)
	}
}

// A limit that is loosened, one that was there and a break of before are none.
func TestOnlyWhatProtectsCounts(t *testing.T) {
	t.Parallel()
	before := &Known{values: make([]float64, 8), Limits: map[string]event.Limit{"loss/day": {Amount: 100}, "deposit/day": {Amount: 100}},
		Exclusions: []event.Exclusion{{Scheme: "operator", Since: noon.Add(-time.Hour)}}}
	after := *before
	after.Limits = map[string]event.Limit{"loss/day": {Amount: 100}, "deposit/day": {Amount: 200}}
	first := row("p", noon, Protection, 0, false)
	first.Known = before
	var a aftermath
	if a.day(&first, &after); a.limited || a.broke {
		t.Errorf("%+v", a)
	}
	after.Limits["deposit/day"] = event.Limit{Amount: 99}
	if a.day(&first, &after); !a.limited {
		t.Error("a lower limit does not count")
	}
}

// Service and marketing are measured by the goal that the action declares, against
// those held out, once its time is over; one of few players is no figure.
func TestReportMeasuresByGoals(t *testing.T) {
	t.Parallel()
	p := policy(t)
	r := NewRows(p)
	since := slices.Index(r.names, "since_deposit_s")
	goal := p.action("payment_help").Goal
	if since < 0 || goal == nil || time.Duration(goal.Within) != 30*time.Minute {
		t.Fatalf("payment_help has another goal: %v, %+v", r.names, goal)
	}
	at := func(player string, after time.Duration, held bool, sinceDeposit time.Duration) {
		one := row(player, noon.Add(after), Service, 0, held)
		one.Choice.Action = "payment_help"
		one.Known = &Known{AsOf: one.At, values: make([]float64, len(r.names))}
		one.Known.values[since] = sinceDeposit.Seconds()
		r.list = append(r.list, one)
	}
	for n := range 40 {
		p := fmt.Sprint("p", n)
		at(p, 0, false, 24*time.Hour)
		switch {
		case n < 20: // seen an hour later, and deposited ten minutes after the message
			at(p, time.Hour, false, 50*time.Minute)
		case n < 25: // deposited too late
			at(p, time.Hour, false, 20*time.Minute)
		case n < 30: // the deposit was before the message
			at(p, time.Hour, false, 61*time.Minute)
		}
	}
	for n := range 20 {
		p := fmt.Sprint("h", n)
		at(p, 0, true, 24*time.Hour)
		if n < 5 {
			at(p, time.Hour, true, 50*time.Minute)
		}
	}
	for n := range 12 {
		at(fmt.Sprint("now", n), time.Hour, false, 24*time.Hour)
	}
	l := r.Report().Lines[0]
	if l.Goal != "deposit within 30m" || !about(l.Reached, 0.5, 40) || !about(l.Holdout, 0.25, 20) || !about(l.Uplift, 0.25, 20) || l.Players != 52 {
		t.Errorf("%+v", l)
	}
	if d, more := power(25, 40, 20); l.Detectable != d || l.Needed != more {
		t.Errorf("%v %d", l.Detectable, l.Needed)
	}
	r.list = slices.DeleteFunc(r.list, func(r Row) bool { return r.Player[0] == 'h' && r.Player > "h12" })
	if l = r.Report().Lines[0]; l.Holdout.Of != 5 || l.Holdout.Estimate != nil || l.Uplift.Estimate != nil {
		t.Errorf("a figure of %d players: %+v %+v", l.Holdout.Of, l.Holdout.Estimate, l.Uplift.Estimate)
	}
}

// What a sealed part tells is read by the names of the features of its own policy.
func TestRowsReadSealedParts(t *testing.T) {
	t.Parallel()
	p := policy(t)
	old := []string{"stake_sum_24h", "since_round_s", "deposit_sum_24h", "other", "deposit_sum_total", "stake_sum_total", "since_deposit_s"}
	in := Input{Decision: "d1", Player: "p", Now: noon, AsOf: noon.Add(-time.Second), Contacts: &Contacts{}, Features: []float64{1, 2, 3, 4, 5, 6, 7},
		Facts: event.Facts{Limits: map[string]event.Limit{"deposit/day": {Amount: 9}}, Exclusions: []event.Exclusion{{Scheme: "s", Since: noon}}}}
	open, personal := (&Record{Input: in, Decision: Decision{Action: "payment_help", Policy: "old"}}).Split()
	r := NewRows(p)
	features := func(hash string) ([]string, error) {
		if hash != "old" {
			t.Errorf("asked for policy %q", hash)
		}
		return old, nil
	}
	for _, sealed := range [][]byte{personal, nil} {
		if err := r.Decision("key", open, sealed, features); err != nil {
			t.Fatal(err)
		}
	}
	k := r.list[0].Known
	if k == nil || !k.AsOf.Equal(in.AsOf) || k.Limits["deposit/day"].Amount != 9 || len(k.Exclusions) != 1 || r.list[1].Known != nil {
		t.Fatalf("%+v, erased %+v", k, r.list[1].Known)
	}
	for i, name := range r.names {
		if want := in.Features[slices.Index(old, name)]; k.values[i] != want {
			t.Errorf("%s is %v, want %v", name, k.values[i], want)
		}
	}
	unknown := NewRows(p)
	if err := unknown.Decision("key", open, personal, func(string) ([]string, error) { return nil, nil }); err != nil || unknown.list[0].Known != nil {
		t.Errorf("by features that nobody knows: %v %+v", err, unknown.list[0].Known)
	}
}

// More players show smaller differences, and fewer more are needed.
func TestPower(t *testing.T) {
	t.Parallel()
	before, needed := power(50, 100, 100)
	one, neededOne := powerOfOne(100)
	for _, n := range []int{200, 400, 1600} {
		d, more := power(n/2, n, n)
		d1, more1 := powerOfOne(n)
		if d >= before || more >= needed && needed > 0 || d1 >= one || more1 >= neededOne && neededOne > 0 {
			t.Errorf("%d a group: %v and %d, before %v and %d; alone %v and %d", n, d, more, before, needed, d1, more1)
		}
		before, needed, one, neededOne = d, more, d1, more1
	}
	if d, more := power(0, 0, 0); d != 1 || more != 1570 {
		t.Errorf("nobody: %v, %d", d, more)
	}
}

// The median's interval holds the true one in 95 % of cases, however lopsided
// what it is of.
func TestMediansInterval(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	const runs, median50 = 4000, 0.6931471805599453
	for _, n := range []int{10, 25, 200} {
		held := 0
		for range runs {
			xs := make([]float64, n)
			for i := range xs {
				xs[i] = rng.ExpFloat64()
			}
			if m := median(xs); m.Low <= median50 && median50 <= m.High {
				held++
			}
		}
		if share := float64(held) / runs; share < 0.945 {
			t.Errorf("%d players: %.3f of the intervals hold the median", n, share)
		}
	}
}

// A report of a million decisions must fit into a console's memory beside all else.
func TestARowOfAReportIsSmall(t *testing.T) {
	p := policy(t)
	in := typical(p)
	in.Facts.Limits = map[string]event.Limit{"deposit/24h": {Amount: 100}}
	const rows, most = 4_000, 600
	r := NewRows(p)
	names := func(string) ([]string, error) { return p.FeatureNames(), nil }
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	entry := 0
	before := heap()
	for n := range rows {
		in.Decision, in.Player = fmt.Sprintf("s0007-%032d", n), fmt.Sprint("p", n%200)
		d := p.Decide(in)
		d.Issued = n%5 == 0
		open, personal := (&Record{Input: *in, Decision: *d}).Split()
		entry += len(open) + len(personal)
		if err := r.Decision(fmt.Sprintf("%016d", n%200), open, personal, names); err != nil {
			t.Fatal(err)
		}
	}
	each := int(heap()-before) / rows
	t.Logf("%d bytes of memory a decision, whose entry has %d", each, entry/rows)
	if each > most {
		t.Errorf("a decision takes %d bytes, at most %d are wanted", each, most)
	}
	if got := len(r.All()); got != rows {
		t.Errorf("%d rows", got)
	}
}
