package search_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pitboss/internal/journal"
	"pitboss/internal/redisdb"
	"pitboss/internal/search"
	"pitboss/test/redistest"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// made is a decision as the test knows it.
type made struct {
	id, player, verdict, action, kind, jurisdiction, brand string
	rules                                                  []string
	review                                                 bool
	at                                                     time.Time
	outcome                                                string
}

func (m *made) open() []byte {
	type blocked struct {
		Rule string `json:"rule"`
		Text string `json:"text"`
	}
	type candidate struct {
		Blocked []blocked `json:"blocked"`
	}
	var c candidate
	for _, r := range m.rules {
		c.Blocked = append(c.Blocked, blocked{r, "Text of " + r})
	}
	result := map[string]any{"issued": m.verdict == "issued", "action": m.action, "kind": m.kind, "candidates": []candidate{c}, "reasons": []any{}}
	if m.review {
		result["review"] = []string{"GB-AUTO"}
	}
	raw, err := json.Marshal(map[string]any{"decision": m.id, "at": m.at, "jurisdiction": m.jurisdiction, "brand": m.brand, "result": result})
	if err != nil {
		panic(err)
	}
	return raw
}

// world is a journal and what the test knows to be in it.
type world struct {
	ctx      context.Context
	rdb      redisdb.Client
	journal  *journal.Journal
	segments journal.Segments
	all      []*made
	n        int
}

func newWorld(t testing.TB, rdb redisdb.Client, dir string) *world {
	t.Helper()
	if err := rdb.FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	return &world{ctx: context.Background(), rdb: rdb, journal: journal.New(rdb, 100), segments: journal.Segments{Dir: dir}}
}

func connect(t testing.TB) redisdb.Client { return redistest.Client(t, redistest.Start(t)) }

type failer interface{ Fatal(args ...any) }

func (w *world) record(t failer, id, kind, decision string, open []byte, at time.Time) {
	_, err := w.journal.Record(w.ctx, id, journal.Anew, func(journal.View) (*journal.Draft, error) {
		d := &journal.Draft{Kind: kind, Time: at, Open: open, Decision: decision, Contacts: journal.Bytes("x")}
		if kind == journal.KindDecision {
			d.Personal = []byte(`{"player":"` + id + `"}`)
		}
		return d, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) decide(t failer, m *made) {
	w.n++
	m.id = journal.DecisionID(m.player, fmt.Sprintf("d%d", w.n))
	w.record(t, m.player, journal.KindDecision, m.id, m.open(), m.at)
	w.all = append(w.all, m)
}

// tell records an outcome, an overturned review or a revocation.
func (w *world) tell(t failer, m *made, outcome string) {
	kind, open := journal.KindOutcome, fmt.Sprintf(`{"decision":%q,"status":%q}`, m.id, outcome)
	switch outcome {
	case "overturned":
		kind, open = journal.KindReview, fmt.Sprintf(`{"decision":%q,"verdict":"overturned"}`, m.id)
	case "revoked":
		kind, open = journal.KindRevoke, fmt.Sprintf(`{"decision":"s0000-r","revoked":[%q]}`, m.id)
	}
	w.record(t, m.player, kind, m.id, []byte(open), m.at.Add(time.Minute))
	if search.Rank(outcome) > search.Rank(m.outcome) {
		m.outcome = outcome
	}
}

// writeOut writes a segment, and drops everything from Redis if told to.
func (w *world) writeOut(t failer, drop bool) {
	keep := time.Duration(0)
	if drop {
		keep = time.Nanosecond
	}
	if _, _, err := w.journal.WriteOut(w.ctx, w.segments, keep, noon.Add(1000*time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// want is what the query should find, the newest first, by looking at each.
func (w *world) want(q search.Query) (ids []string) {
	list := slices.Clone(w.all)
	slices.SortStableFunc(list, func(a, b *made) int { return cmp.Compare(b.at.UnixMilli(), a.at.UnixMilli()) })
	is := func(want, got string) bool { return want == "" || want == got }
	for _, m := range list {
		if is(q.Verdict, m.verdict) && is(q.Action, m.action) && is(q.Kind, m.kind) && is(q.Jurisdiction, m.jurisdiction) && is(q.Brand, m.brand) &&
			is(q.Player, m.player) && is(q.Decision, m.id) && is(q.Outcome, cmp.Or(m.outcome, search.None)) && (!q.Review || m.review) &&
			(q.Rule == "" || slices.Contains(m.rules, q.Rule)) && (q.From.IsZero() || !m.at.Before(q.From)) && (q.To.IsZero() || m.at.Before(q.To)) &&
			(q.Allowed == nil || q.Allowed(m.jurisdiction, m.brand)) {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// pages follows a search to its end.
func pages(t failer, x *search.Index, q search.Query) (ids []string, matched int64) {
	for first := true; ; first = false {
		p, err := x.Find(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		if first {
			matched = p.Matched
		}
		for _, h := range p.Hits {
			var o struct{ Decision string }
			if err := json.Unmarshal(h.Entry.Open, &o); err != nil || h.Entry.Personal == nil {
				t.Fatal(err, "the entry is sealed")
			}
			ids = append(ids, o.Decision)
		}
		if q.Before = p.Next; p.Next == "" {
			return ids, matched
		}
	}
}

// Whatever is asked, wherever the entries are, in whatever order they came and
// however often the index was made anew: the answer is what looking at each
// decision gives, once, the newest first.
func TestFindsWhatLookingAtEachWould(t *testing.T) {
	t.Parallel()
	rdb := connect(t)
	dirs := 0
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dirs++
		dir := filepath.Join(base, fmt.Sprint(dirs))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		w := newWorld(testing.TB(nopTB{}), rdb, dir)
		x := search.New(w.journal, w.segments)
		defer func() { _ = x.Close() }()
		of := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			default:
				w.decide(t, &made{player: of("player", "ann", "bob", "cec", "dan"), verdict: of("verdict", "issued", "suppressed"),
					action: of("action", "free_spins", "call"), kind: of("kind", "marketing", "protection"), jurisdiction: of("place", "GB", "SE", ""),
					brand: of("brand", "one", "two"), rules: rapid.SliceOfDistinct(rapid.SampledFrom([]string{"A", "B", "nothing-eligible"}), rapid.ID[string]).Draw(t, "rules"),
					review: rapid.Bool().Draw(t, "review"), at: noon.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "at")) * time.Minute)})
			case 6, 7:
				if len(w.all) > 0 {
					w.tell(t, rapid.SampledFrom(w.all).Draw(t, "which"), of("outcome", search.Outcomes[1:]...))
				}
			case 8:
				w.writeOut(t, rapid.Bool().Draw(t, "drop"))
			case 9:
				if rapid.Bool().Draw(t, "restart") {
					_ = x.Close()
					x = search.New(w.journal, w.segments)
				}
				if err := x.Update(w.ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := x.Update(w.ctx); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			q := search.Query{Verdict: of("q verdict", "", "", "issued"), Action: of("q action", "", "", "call"), Kind: of("q kind", "", "", "marketing"),
				Jurisdiction: of("q place", "", "", "GB"), Brand: of("q brand", "", "", "two"), Rule: of("q rule", "", "", "B", "Z"),
				Player: of("q player", "", "", "bob", "nobody"), Outcome: of("q outcome", "", "", "accepted", "revoked", search.None),
				Review: of("q review", "", "", "yes") != "", Max: rapid.IntRange(1, 20).Draw(t, "max")}
			if rapid.Bool().Draw(t, "range") {
				q.From, q.To = noon.Add(10*time.Minute), noon.Add(40*time.Minute)
			}
			if len(w.all) > 0 && of("one", "", "", "yes") != "" {
				q.Decision = rapid.SampledFrom(w.all).Draw(t, "which one").id
			}
			if rapid.Bool().Draw(t, "scoped") {
				q.Allowed = func(jurisdiction, brand string) bool { return jurisdiction != "SE" && brand != "two" }
			}
			want := w.want(q)
			got, matched := pages(t, x, q)
			if int(matched) != len(want) {
				t.Fatal("matched", matched, "want", len(want), q)
			}
			w.sameOrder(t, got, want)
			if !q.From.IsZero() {
				w.sameHistory(t, x, q, want)
			}
		}
	})
}

// sameOrder holds got against want; those of one millisecond may be in any order.
func (w *world) sameOrder(t failer, got, want []string) {
	when := map[string]int64{}
	for _, m := range w.all {
		when[m.id] = m.at.UnixMilli()
	}
	for i := 1; i < len(got); i++ {
		if when[got[i]] > when[got[i-1]] {
			t.Fatal("not the newest first", got)
		}
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Fatal("got ", got, " want ", want)
	}
}

// sameHistory holds the counts by steps of seven minutes against those of want.
func (w *world) sameHistory(t failer, x *search.Index, q search.Query, want []string) {
	const step = 7 * time.Minute
	got, err := x.History(w.ctx, q, step)
	if err != nil {
		t.Fatal(err)
	}
	expect := make([]search.Bucket, len(got))
	for i := range expect {
		expect[i].At = q.From.Add(time.Duration(i) * step)
	}
	for _, m := range w.all {
		if !slices.Contains(want, m.id) {
			continue
		}
		b := &expect[m.at.Sub(q.From)/step]
		switch {
		case m.verdict == "issued":
			b.Issued++
		case slices.Equal(m.rules, []string{"nothing-eligible"}):
			b.Nothing++
		default:
			b.Blocked++
		}
	}
	if !slices.Equal(got, expect) {
		t.Fatal("history ", got, " want ", expect)
	}
}

type nopTB struct{ testing.TB }

func (nopTB) Helper()           {}
func (nopTB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// The facet of a filter counts what the other filters leave: what one would get
// by choosing another value.
func TestFacets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, connect(t), t.TempDir())
	for i := range 30 {
		m := &made{player: fmt.Sprint("p", i), verdict: "suppressed", action: "free_spins", kind: "marketing", jurisdiction: "GB", rules: []string{"GB-DM"}, at: noon}
		if i%3 == 0 {
			m.jurisdiction, m.rules = "SE", []string{"SE-BONUS", "GB-DM"}
		}
		w.decide(t, m)
	}
	w.tell(t, w.all[0], "accepted")
	w.writeOut(t, true)
	x := search.New(w.journal, w.segments)
	defer x.Close()
	p, err := x.Find(w.ctx, search.Query{Jurisdiction: "SE"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Matched != 10 || p.Total != 30 || !p.Whole {
		t.Errorf("matched %d of %d, whole %v", p.Matched, p.Total, p.Whole)
	}
	want := map[string][]search.Count{
		"jurisdiction": {{Name: "GB", N: 20}, {Name: "SE", N: 10}},
		"rule":         {{Name: "GB-DM", N: 10, Text: "Text of GB-DM"}, {Name: "SE-BONUS", N: 10, Text: "Text of SE-BONUS"}},
		"outcome":      {{Name: search.None, N: 9}, {Name: "accepted", N: 1}},
	}
	for facet, list := range want {
		if !slices.Equal(p.Facets[facet], list) {
			t.Errorf("%s: %v, want %v", facet, p.Facets[facet], list)
		}
	}
}

// An index that is damaged, cut or of another file is made anew; one that
// cannot be put beside its segment is kept in memory.
func TestABadIndexIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, connect(t), t.TempDir())
	for i := range 20 {
		w.decide(t, &made{player: fmt.Sprint("p", i), verdict: "issued", action: "call", at: noon})
	}
	w.writeOut(t, true)
	files, _ := w.segments.Files()
	count := func() int64 {
		x := search.New(w.journal, w.segments)
		defer x.Close()
		p, err := x.Find(w.ctx, search.Query{Verdict: "issued"})
		if err != nil {
			t.Fatal(err)
		}
		return p.Matched
	}
	if got := count(); got != 20 {
		t.Fatalf("found %d", got)
	}
	index := files[0] + ".index"
	good, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(good); cut += 7 {
		damaged := slices.Clone(good)
		damaged[cut] ^= 0xff
		for _, bad := range [][]byte{good[:cut], damaged} {
			if err := os.WriteFile(index, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			if got := count(); got != 20 {
				t.Fatalf("cut or damaged at %d: found %d", cut, got)
			}
		}
	}
	if err := os.Remove(index); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(w.segments.Dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(w.segments.Dir, 0o755) })
	if got := count(); got != 20 {
		t.Errorf("without a place for the index: %d", got)
	}
}

// Entries that are in neither Redis nor a segment are told of.
func TestMissingEntriesAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, connect(t), t.TempDir())
	w.decide(t, &made{player: "ann", verdict: "issued", action: "call", at: noon})
	w.writeOut(t, true)
	w.decide(t, &made{player: "ann", verdict: "issued", action: "call", at: noon})
	x := search.New(w.journal, journal.Segments{})
	defer x.Close()
	p, err := x.Find(w.ctx, search.Query{})
	if err != nil || p.Whole || p.Matched != 1 {
		t.Errorf("%+v %v: want one, and not whole", p, err)
	}
}

func TestAQueryThatCannotBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, connect(t), t.TempDir())
	x := search.New(w.journal, w.segments)
	defer x.Close()
	for _, q := range []search.Query{{Outcome: "vanished"}, {Before: "yesterday"}, {Before: "12-zz"}} {
		if _, err := x.Find(w.ctx, q); !errors.Is(err, search.ErrQuery) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
