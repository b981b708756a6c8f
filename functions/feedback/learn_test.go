package feedback

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/player"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
	"pitboss/test/shipped"
)

// startLearning starts feedback with the models' own learning.yaml, on a real Redis.
func startLearning(t *testing.T, url string) *Function {
	t.Helper()
	f := New()
	f.now = func() time.Time { return noon.Add(time.Minute) }
	if err := f.Start(context.Background(), map[string]string{"REDIS_URL": url, "MODELS_DIR": "../../models"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Stop(context.Background()) })
	return f
}

// decided journals a decision of the real policy about a player whose game
// failed to load.
func decided(t *testing.T, f *Function, p *policy.Policy, set *feature.Set, id string) *policy.Record {
	t.Helper()
	in := policy.Input{Decision: journal.DecisionID(id, "0123"), Player: id, Now: noon, AsOf: noon, StateVersion: "00", FeatureSet: set.Hash(),
		Features: make([]float64, len(set.Names())), Scores: map[string]float64{"leave": 0.5, "harm": 0}, Contacts: &policy.Contacts{}}
	for i, n := range set.Names() {
		if n == "payment_fails_1h" {
			in.Features[i] = 1
		}
	}
	in.Facts.Jurisdiction, in.Facts.BirthDate, in.Facts.TimeZone = "GB", "1980-01-01", "Europe/London"
	r := &policy.Record{Input: in, Decision: *p.Decide(&in)}
	if r.Decision.Holdout {
		return nil
	}
	if !r.Decision.Issued || r.Decision.Action != "payment_help" {
		t.Fatalf("%+v", r.Decision)
	}
	_, err := f.journal.Record(t.Context(), id, journal.Anew, func(v journal.View) (*journal.Draft, error) {
		openPart, personal := r.Split()
		after := (&policy.Contacts{}).After(&in, &r.Decision, false, v.Seq)
		return &journal.Draft{Kind: journal.KindDecision, Time: noon, Contacts: after, Decision: in.Decision, Open: openPart, Personal: personal}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// In whatever order, however often and through however many instances outcomes come, the sums
// hold each decision's highest outcome once.
func TestOutcomesAreLearnedOnceInAnyOrder(t *testing.T) {
	t.Parallel()
	p, set := shipped.Policy(t)
	spec, err := learn.ReadSpec(filepath.Join("../../models", "learning.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	url := redistest.Start(t)
	fs := []*Function{startLearning(t, url), startLearning(t, url)}
	rng := rand.New(rand.NewPCG(1, 2))
	want := spec.NewSums()
	types := map[string]string{"issued": event.TypeRecommendation, "delivered": event.TypeDelivered, "accepted": event.TypeAccepted, "dismissed": event.TypeDismissed}
	var events []ce.Event
	const players = 40
	for i := range players {
		id := fmt.Sprint("p", i)
		r := decided(t, fs[0], p, set, id)
		if r == nil {
			continue
		}
		rank := 0
		for outcome, typ := range types {
			if outcome != "issued" && rng.IntN(2) == 0 {
				continue
			}
			rank = max(rank, learn.Rank(outcome))
			var data any = event.Outcome{Recommendation: r.Input.Decision}
			if outcome == "issued" {
				data = r.Recommendation()
			}
			for range 1 + rng.IntN(3) {
				events = append(events, told(t, id, typ, id+outcome, data))
			}
		}
		want.Add(spec.Row([]float64{1, 0.5, 0}, policy.Service, rank, r.Decision.Candidates[0].Value))
	}
	rng.Shuffle(len(events), func(a, b int) { events[a], events[b] = events[b], events[a] })
	for i, e := range events {
		if _, err := fs[i%2].Handle(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	got, err := fs[0].journal.Learned(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := text(t, got["payment_help"]), text(t, want); a != b {
		t.Fatalf("learned %s\nwant    %s", a, b)
	}
	checkForgotten(t, fs[0], spec, events[0])
}

// If learning.yaml changes between a decision and its outcome, the new sums count the
// decision with its outcome.
func TestOutcomesAreLearnedByOtherRewards(t *testing.T) {
	t.Parallel()
	p, set := shipped.Policy(t)
	f := startLearning(t, redistest.Start(t))
	var r *policy.Record
	id := ""
	for i := 0; r == nil; i++ {
		id = fmt.Sprint("p", i)
		r = decided(t, f, p, set, id)
	}
	if _, err := f.Handle(t.Context(), told(t, id, event.TypeRecommendation, "issued", r.Recommendation())); err != nil {
		t.Fatal(err)
	}
	other := *f.learner.spec
	other.Rewards = map[string]map[string]float64{policy.Service: {"accepted": 70}}
	f.learner.spec = &other
	if _, err := f.Handle(t.Context(), told(t, id, event.TypeAccepted, "accepted", event.Outcome{Recommendation: r.Input.Decision})); err != nil {
		t.Fatal(err)
	}
	got, err := f.journal.Learned(t.Context(), &other)
	if err != nil {
		t.Fatal(err)
	}
	want := other.Row([]float64{1, 0.5, 0}, policy.Service, learn.Rank("accepted"), r.Decision.Candidates[0].Value)
	if a, b := text(t, got["payment_help"]), text(t, want); a != b {
		t.Errorf("learned %s\nwant    %s", a, b)
	}
}

// An outcome that is learned while its player is erased leaves no data of the player.
func TestNothingIsLearnedOfAnErasedPlayer(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	f := startLearning(t, url)
	rdb := redistest.Client(t, url)
	store := player.NewStore(rdb, f.learner.set, player.Config{CachePlayers: 1})
	if err := store.Erase(t.Context(), "p", player.Version{}, noon); err != nil {
		t.Fatal(err)
	}
	spec := f.learner.spec
	var rows []*learn.Sums
	for rank := 1; rank < learn.Ranks; rank++ {
		rows = append(rows, spec.Row([]float64{1, 0.5, 0}, policy.Service, rank, 10))
	}
	before, err := rdb.DBSize(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	learned, err := f.journal.Learn(t.Context(), "p", journal.Lesson{Spec: spec, Decision: journal.DecisionID("p", "1"), At: noon, Now: noon,
		Action: "payment_help", Rank: 1, Rows: rows, Remember: time.Hour})
	if err != nil || learned {
		t.Errorf("learned: %v %v", learned, err)
	}
	if after, err := rdb.DBSize(t.Context()).Result(); err != nil || after != before {
		t.Errorf("%d keys, before it were %d (%v)", after, before, err)
	}
}

// checkForgotten checks that an erasure removes what is stored of the player's outcomes, and
// that later outcomes teach nothing.
func checkForgotten(t *testing.T, f *Function, spec *learn.Spec, e ce.Event) {
	t.Helper()
	before, err := f.journal.Learned(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.journal.Shred(t.Context(), e.Subject(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Handle(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	after, err := f.journal.Learned(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := text(t, before["payment_help"]), text(t, after["payment_help"]); a != b {
		t.Errorf("learned from an erased player: %s, %s", a, b)
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// An outcome after the window does not count.
func TestLateOutcomesTeachNothing(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("../../models/learning.yaml"); err != nil {
		t.Fatal(err)
	}
	p, set := shipped.Policy(t)
	f := startLearning(t, redistest.Start(t))
	f.now = func() time.Time { return noon.Add(25 * time.Hour) }
	var r *policy.Record
	id := ""
	for i := 0; r == nil; i++ {
		id = fmt.Sprint("p", i)
		r = decided(t, f, p, set, id)
	}
	if _, err := f.Handle(t.Context(), told(t, id, event.TypeAccepted, "late", event.Outcome{Recommendation: r.Input.Decision})); err != nil {
		t.Fatal(err)
	}
	if got, err := f.journal.Learned(t.Context(), f.learner.spec); err != nil || len(got) > 0 {
		t.Errorf("%v %v", got, err)
	}
}

// A decision whose outcome may still come counts with the share of outcomes that have come at
// its age, and in full once the window is over.
func TestPendingDecisionsCountLess(t *testing.T) {
	t.Parallel()
	p, set := shipped.Policy(t)
	f := startLearning(t, redistest.Start(t))
	now := noon.Add(6 * time.Hour)
	f.now = func() time.Time { return now }
	for i := range 120 { // half of them accept, six hours later
		id := fmt.Sprint("p", i)
		r := decided(t, f, p, set, id)
		if r == nil {
			continue
		}
		typ, data := event.TypeRecommendation, any(r.Recommendation())
		if i%2 == 0 {
			typ, data = event.TypeAccepted, event.Outcome{Recommendation: r.Input.Decision}
		}
		if _, err := f.Handle(t.Context(), told(t, id, typ, id, data)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := f.journal.Learned(t.Context(), f.learner.spec)
	if err != nil {
		t.Fatal(err)
	}
	n := all["payment_help"].N
	for _, c := range []struct {
		at   time.Duration
		low  int64
		high int64
	}{{2 * time.Hour, 0, 0}, {10 * time.Hour, n, n}, {30 * time.Hour, n, n}} {
		got, err := f.journal.LearnedBy(t.Context(), f.learner.spec, noon.Add(c.at))
		if err != nil {
			t.Fatal(err)
		}
		if m := got["payment_help"].N; m < c.low || m > c.high {
			t.Errorf("after %v they count as %d, want %d to %d of %d", c.at, m, c.low, c.high, n)
		}
	}
}
