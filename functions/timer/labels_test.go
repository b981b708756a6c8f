package timer

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/functions/decide"
	"pitboss/functions/profile"
	"pitboss/functions/score"
	"pitboss/internal/dataset"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/model"
	"pitboss/internal/policy"
	"pitboss/internal/setup"
	"pitboss/internal/trainingset"
	"pitboss/test/redistest"
	"pitboss/test/shipped"
)

const models = "../../models"

// played is a round, and whether its player had left ten minutes later.
type played struct {
	*event.Record
	gone bool
}

// play makes rounds of players who come and go: after each round two in five leave for a while.
func play(players int, begin time.Time, long time.Duration) (all []played) {
	info, _ := event.Lookup(event.TypeRoundSettled)
	rng := rand.New(rand.NewPCG(7, 8))
	for p := range players {
		at := begin.Add(time.Duration(rng.Int64N(int64(2 * time.Hour))))
		for n := 0; at.Before(begin.Add(long)); n++ {
			gone := rng.IntN(5) < 2
			all = append(all, played{&event.Record{ID: fmt.Sprintf("%d-%d", p, n), Source: "/platform/test", Type: event.TypeRoundSettled, Subject: fmt.Sprint("player-", p),
				Time: at.Truncate(time.Millisecond), Info: info,
				Data: &event.RoundSettled{Game: "g", Product: "casino", Stake: 10 + rng.Int64N(90), Win: rng.Int64N(80), Currency: "GBP"}}, gone})
			if gone {
				at = at.Add(12*time.Minute + time.Duration(rng.Int64N(int64(time.Hour))))
			} else {
				at = at.Add(15*time.Second + time.Duration(rng.Int64N(int64(80*time.Second))))
			}
		}
	}
	slices.SortFunc(all, func(a, b played) int { return a.Time.Compare(b.Time) })
	return all
}

// serving runs profile, score and decide, and a timer that settles labels.
type serving struct {
	t       *testing.T
	url     string
	handle  []func(context.Context, ce.Event) (*ce.Event, error)
	journal *journal.Journal
	rdb     setup.Client
	now     time.Time
}

func serve(t *testing.T) *serving {
	t.Helper()
	library := os.Getenv("ONNXRUNTIME_LIB")
	if err := model.OpenRuntime(model.Library(library)); err != nil {
		t.Skip(err)
	}
	s := &serving{t: t, url: redistest.Start(t)}
	cfg := map[string]string{"REDIS_URL": s.url, "MODELS_DIR": models, "SCORE_WHEN": "always", "DECIDE_CLOCK": "event", "DECIDE_LEARN_POLL": "100ms", "ONNXRUNTIME_LIB": library}
	type function interface {
		Start(context.Context, map[string]string) error
		Stop(context.Context) error
		Handle(context.Context, ce.Event) (*ce.Event, error)
	}
	for _, f := range []function{profile.New(), score.New(), decide.New()} {
		if err := f.Start(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Stop(context.Background()) })
		s.handle = append(s.handle, f.Handle)
	}
	s.rdb = redistest.Client(t, s.url)
	s.journal = journal.New(s.rdb, 1)
	return s
}

// take sends a round through to a decision.
func (s *serving) take(r *event.Record) {
	s.t.Helper()
	e, err := dataset.CloudEvent(r)
	for _, handle := range s.handle {
		if err == nil {
			e, err = handle(s.t.Context(), *e)
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// settling is a timer that settles labels when the test says so.
func (s *serving) settling(me string) *labels {
	s.t.Helper()
	f := New()
	f.now = func() time.Time { return s.now }
	err := f.Start(context.Background(), map[string]string{"REDIS_URL": s.url, "MODELS_DIR": models, "K_SINK": "http://127.0.0.1:1", "TIMER_EVERY": "0", "GUARD_EVERY": "0", "LABELS_EVERY": "0"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = f.Stop(context.Background()) })
	f.cfg.LabelsEvery = time.Minute
	l, err := f.newLabels(s.rdb)
	if err != nil || l == nil {
		s.t.Fatalf("%v %v", l, err)
	}
	l.me = me
	return l
}

func (s *serving) decisions() (out []*policy.Record) {
	s.t.Helper()
	err := s.journal.Opened(s.t.Context(), journal.Segments{}, time.Time{}, func(e *journal.Entry) error {
		if e.Kind != journal.KindDecision {
			return nil
		}
		r, err := policy.Join(e.Open, e.Personal)
		out = append(out, r)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// A model whose scores are far off is calibrated after some hundred outcomes: through
// profile, ONNX Runtime, decide, the journal and timer, on a real Redis, with two timers that
// both believe they hold the lease. Each decision is reproduced bit for bit, the kill switch
// undoes the calibration, and the journal's training set equals the recording's.
func TestScoresAreCalibratedInServing(t *testing.T) {
	t.Parallel()
	s := serve(t)
	begin := time.Now().UTC().Add(-72 * time.Hour).Truncate(time.Hour)
	rounds := play(40, begin, 10*time.Hour)
	s.now = begin
	both := []*labels{s.settling("one"), s.settling("one")}
	var halfway []byte
	for i, r := range rounds {
		for r.Time.Sub(s.now) > 3*time.Minute {
			s.now = s.now.Add(3 * time.Minute)
			for _, l := range both {
				if err := l.round(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if i == len(rounds)/2 {
			var err error
			if halfway, err = s.journal.Calibrators(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s.take(r.Record)
	}
	s.checkCalibrated(rounds)
	s.checkCountedOnce(both[0], halfway)
	s.checkClocks(both[0])
	s.checkTrainingSet(rounds)
	s.checkSwitch(rounds[len(rounds)-1].Record)
}

// ece is the expected calibration error over ten bins.
type ece [10]struct{ n, said, came float64 }

func (b *ece) add(said float64, came bool) {
	x := &b[min(9, int(said*10))]
	x.n, x.said = x.n+1, x.said+said
	if came {
		x.came++
	}
}

func (b *ece) error() (e float64) {
	var n float64
	for _, x := range b {
		n, e = n+x.n, e+math.Abs(x.said-x.came)
	}
	return e / n
}

func (s *serving) checkCalibrated(rounds []played) {
	s.t.Helper()
	gone := map[string]bool{}
	for _, r := range rounds {
		gone[r.ID] = r.gone
	}
	p, _ := shipped.Policy(s.t)
	var raw, decided ece
	calibrated := 0
	half := rounds[len(rounds)/2].Time
	for i, r := range s.decisions() {
		if r.Input.AsOf.Before(half) {
			continue
		}
		k := slices.IndexFunc(r.Input.Models, func(m event.ModelRun) bool { return m.Output == "leave" && !m.Shadow })
		run := r.Input.Models[k]
		if run.Calibrated != nil {
			calibrated++
		}
		if run.Score != r.Input.Scores["leave"] {
			s.t.Fatalf("decided on %v, the model says %v", r.Input.Scores["leave"], run.Score)
		}
		raw.add(run.Given(), gone[r.Input.Trigger.ID])
		decided.add(run.Score, gone[r.Input.Trigger.ID])
		if i%50 > 0 {
			continue
		}
		if diff, err := p.Reproduce(r); err != nil || diff != "" {
			s.t.Errorf("%s %v", diff, err)
		}
	}
	s.t.Logf("calibration error %.4f as the model has it, %.4f as decided on; %d decisions calibrated", raw.error(), decided.error(), calibrated)
	if calibrated < len(rounds)/3 || raw.error() < 0.1 || decided.error() > 0.05 {
		s.t.Errorf("calibration error %.4f as the model has it, %.4f as decided on; %d decisions calibrated", raw.error(), decided.error(), calibrated)
	}
	all, err := s.journal.Calibrations(s.t.Context())
	if err != nil || len(all) < 2 { // the live model and its shadow
		s.t.Fatalf("%v %v", all, err)
	}
	for _, c := range all {
		if c.Output != "leave" || c.Label != "gone_10m" || c.Errors.Decided > c.Errors.Raw/2 || c.Slope == 0 {
			s.t.Errorf("%+v", c)
		}
	}
}

// checkCountedOnce checks that each settled decision is in the sums once, although two
// instances worked at the same time, and that an instance that continues from old sums
// finds the same.
func (s *serving) checkCountedOnce(l *labels, halfway []byte) {
	s.t.Helper()
	distinct, entries := map[string]bool{}, 0
	err := s.journal.SettledIn(s.t.Context(), journal.Segments{}, func(x *journal.Settled) error {
		entries++
		for _, row := range x.Rows {
			distinct[row.Decision] = true
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range l.state.Calibrators {
		if c.Seen() != int64(len(distinct)) {
			s.t.Errorf("%s %s has seen %d outcomes, of %d decisions something came (%d entries)", c.Name, c.Version, c.Seen(), len(distinct), entries)
		}
	}
	if err := s.journal.KeepCalibrators(s.t.Context(), halfway, nil); err != nil {
		s.t.Fatal(err)
	}
	other := s.settling("one")
	if err := other.begin(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if halfway == nil || !reflect.DeepEqual(other.state.Calibrators, l.state.Calibrators) {
		s.t.Error("after a restart from old sums the calibrators are others")
	}
}

// checkClocks checks that a decision is settled if its platform's clock is ahead of decide's
// by less than the minute in which late rounds still come in, and that none is settled
// before its time is over.
func (s *serving) checkClocks(l *labels) {
	s.t.Helper()
	all := s.decisions()
	last := slices.MaxFunc(all, func(a, b *policy.Record) int { return a.Input.AsOf.Compare(b.Input.AsOf) })
	before := s.now
	defer func() { s.now = before }()
	for age, want := range map[time.Duration]int{9*time.Minute + 59*time.Second: 0, 10*time.Minute + 30*time.Second: 1, 12 * time.Minute: 1, 20 * time.Minute: 0} {
		s.now = last.Input.AsOf.Add(age)
		if got, err := l.labelOne(s.t.Context(), last); err != nil || len(got) != want {
			s.t.Errorf("after %v: %v %v, want %d labels", age, got, err, want)
		}
	}
}

// rowsByID keeps rows by event.
type rowsByID map[string]trainingset.Row

func (m rowsByID) Write(r *trainingset.Row) error {
	c := *r
	c.Vector, c.Labels = slices.Clone(r.Vector), slices.Clone(r.Labels)
	m[r.ID] = c
	return nil
}

// checkTrainingSet checks that the journal's rows equal those of the recording, folded
// without Redis, functions or a journal.
func (s *serving) checkTrainingSet(rounds []played) {
	s.t.Helper()
	var err error
	opt := trainingset.Options{Set: shipped.Features(s.t), Points: trainingset.All}
	if opt.Labels, err = feature.LoadLabels(models + "/labels.yaml"); err != nil {
		s.t.Fatal(err)
	}
	got, want := rowsByID{}, rowsByID{}
	totals, err := trainingset.FromJournal(s.t.Context(), s.journal, journal.Segments{}, time.Time{}, opt, got)
	if err != nil {
		s.t.Fatal(err)
	}
	n := 0
	_, err = trainingset.Run(s.t.Context(), opt, func() (*event.Record, error) {
		if n == len(rounds) {
			return nil, io.EOF
		}
		n++
		return rounds[n-1].Record, nil
	}, want)
	if err != nil || len(got) != len(want) || int(totals.Rows) != len(rounds) {
		s.t.Fatalf("%d rows, want %d (%+v, %v)", len(got), len(want), totals, err)
	}
	labelled := 0
	for id, w := range want {
		g := got[id]
		if g.Player != w.Player || !g.Time.Equal(w.Time) || g.Type != w.Type || !slices.Equal(g.Vector, w.Vector) {
			s.t.Fatalf("row %s is\n%+v\nwant\n%+v", id, g, w)
		}
		for i, l := range opt.Labels {
			switch {
			case l.Score == "" && g.Labels[i].Known:
				s.t.Fatalf("%s of %s is known: %+v", l.Name, id, g.Labels[i])
			case g.Labels[i].Known:
				labelled++
				if w.Labels[i].Known && g.Labels[i].Number != w.Labels[i].Number {
					s.t.Fatalf("%s of %s is %v, want %v", l.Name, id, g.Labels[i].Number, w.Labels[i].Number)
				}
			}
		}
	}
	if labelled != int(totals.Settled) || labelled < len(rounds)*9/10 {
		s.t.Errorf("%d of %d rows are labelled (%+v)", labelled, len(rounds), totals)
	}
}

// checkSwitch checks that decisions use the raw scores while the switch is on.
func (s *serving) checkSwitch(last *event.Record) {
	s.t.Helper()
	c := journal.SwitchChange{Switch: policy.Switch("model", policy.CalibrationModel), On: true, By: "ann", Reason: "test", At: s.now}
	if err := s.journal.Turn(s.t.Context(), c); err != nil {
		s.t.Fatal(err)
	}
	for i := 1; ; i++ {
		r := *last
		r.ID, r.Time = fmt.Sprint("switched-", i), last.Time.Add(time.Duration(i)*time.Second)
		s.take(&r)
		for _, d := range s.decisions() {
			if d.Input.Trigger.ID != r.ID {
				continue
			}
			if !slices.Contains(d.Input.Killed, c.Switch) {
				break // decide has not read it yet
			}
			if slices.ContainsFunc(d.Input.Models, func(m event.ModelRun) bool { return m.Calibrated != nil }) {
				s.t.Errorf("calibrated though it is switched off: %+v", d.Input.Models)
			}
			return
		}
		if err := s.t.Context().Err(); err != nil {
			s.t.Fatal(err)
		}
	}
}
