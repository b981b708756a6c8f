package decide

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"pgregory.net/rapid"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
)

func (w *world) link(f *Function, id, person string, confidence int64) {
	w.tb.Helper()
	handle(w.tb, f, w.event(id, event.TypeAccountLinked, noon, event.AccountLinked{Person: person, Reason: "identity", Confidence: confidence}))
}

// failing is a player whom a game has just failed.
func (w *world) failing(f *Function, prefix string) string {
	id := w.greedy(f, prefix)
	w.adult(id, "GB")
	w.happen(id, event.TypeGameFailed, noon.Add(-10*time.Second), event.GameFailed{Game: "book", Product: "casino", Error: "timeout"})
	return id
}

func TestAccountsOfOnePersonBindOneAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	f := w.function()
	exclude := func(id string) (*ce.Event, *event.Recommendation) {
		return handle(t, f, w.happen(id, event.TypeExcluded, noon, event.Excluded{Scheme: "operator"}))
	}
	linkedIn := func(rec *event.Recommendation) bool {
		return slices.ContainsFunc(rec.Reasons, func(r event.Reason) bool { return r.Code == policy.ReasonLinked })
	}

	t.Run("excluded on one, nothing on the other, whichever came first", func(t *testing.T) {
		for _, first := range []string{"link", "exclusion"} {
			a, b, person := w.failing(f, "a-"+first), w.failing(f, "b-"+first), "p-"+first
			if first == "exclusion" {
				exclude(a)
			}
			w.link(f, a, person, 90)
			w.link(f, b, person, 90)
			if first == "link" {
				exclude(a)
			}
			out, rec := handle(t, f, w.scored(b, calm))
			if out.Type() != event.TypeSuppressed || !blocked(rec, "GB-EXCL") || !linkedIn(rec) {
				t.Fatalf("%s first: %s %+v", first, out.Type(), rec)
			}
			handle(t, f, w.event(b, event.TypeAccountUnlinked, noon.Add(time.Second), event.AccountUnlinked{Person: person}))
			if out, rec := handle(t, f, w.scored(b, calm)); out.Type() != event.TypeRecommendation || linkedIn(rec) {
				t.Fatalf("unlinked again: %s %+v", out.Type(), rec)
			}
		}
	})

	t.Run("what is open on the other account is taken back", func(t *testing.T) {
		a, b := w.failing(f, "open-a"), w.failing(f, "open-b")
		w.link(f, a, "p-open", 90)
		w.link(f, b, "p-open", 90)
		_, rec := handle(t, f, w.scored(b, calm))
		out, gone := exclude(a)
		if out == nil || out.Type() != event.TypeRevoked || !slices.Equal(gone.Revoked, []string{rec.Decision}) {
			t.Fatalf("%v %+v, want %s taken back", out, gone, rec.Decision)
		}
	})

	t.Run("a link below the policy's confidence binds nobody", func(t *testing.T) {
		a, b := w.failing(f, "unsure-a"), w.failing(f, "unsure-b")
		w.link(f, a, "p-unsure", 49)
		w.link(f, b, "p-unsure", 90)
		exclude(a)
		if out, rec := handle(t, f, w.scored(b, calm)); out.Type() != event.TypeRecommendation {
			t.Fatalf("%s %+v", out.Type(), rec)
		}
	})

	t.Run("an opt-out, a strong sign of harm and a cap bind, too", func(t *testing.T) {
		for _, c := range []struct {
			name, rule string
			befall     func(id string)
		}{
			{"opt-out", "ALL-CONSENT", func(id string) {
				w.happen(id, event.TypeConsentChanged, noon, event.ConsentChanged{Product: "all", Channel: "all"})
			}},
			{"strong", "GB-STRONG", func(id string) {
				w.happen(id, event.TypeIndicatorRaised, noon, event.IndicatorRaised{Group: "contact", Strength: "strong"})
			}},
			{"cap", policy.BlockCap, func(id string) {
				if _, rec := handle(t, f, w.scored(id, calm)); rec.Action != "free_spins" {
					t.Fatalf("%+v", rec)
				}
			}},
		} {
			a, b := w.tempted(f, c.name+"-a", "GB"), w.tempted(f, c.name+"-b", "GB")
			w.link(f, a, "p-"+c.name, 90)
			w.link(f, b, "p-"+c.name, 90)
			c.befall(a)
			_, rec := handle(t, f, w.scored(b, calm))
			if rec.Kind == policy.Marketing && rec.Channel != "" || !blocked(rec, c.rule) {
				t.Errorf("%s: %+v", c.name, rec)
			}
		}
	})
}

// happening is an event about one of a person's accounts.
type happening struct {
	e    *ce.Event
	what string // link, unlink, exclude, score
	id   string
	who  string // person
	at   time.Time
}

// Links, unlinks, exclusions and decisions in any order, several times each, at
// once and on two instances: what is linked and what is bound in the end is
// what the latest events say, and nothing that was sent to a bound account
// stays open.
func TestLinkedAccountsWhateverTheOrder(t *testing.T) {
	t.Parallel()
	linkedAnyOrder(t, newWorld(t, true))
}

func TestLinkedAccountsOnACluster(t *testing.T) {
	t.Parallel()
	linkedAnyOrder(t, newWorldAt(t, redistest.Cluster(t)))
}

func linkedAnyOrder(t *testing.T, w *world) {
	fs := []*Function{w.function(), w.function()}
	later := w.functionAt(func() time.Time { return noon.Add(3 * time.Minute) }) // the spacing of the message is over
	round, bound, free, taken := 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		ids := make([]string, 3)
		for i := range ids {
			ids[i] = w.failing(fs[0], fmt.Sprintf("r%d-%d", round, i))
		}
		all := w.happenings(t, ids, round)
		w.deliver(t, fs, all, rapid.Uint64().Draw(t, "seed"))
		want := reference(ids, all)
		for i, id := range ids {
			c := w.contacts(t, fs[0], id)
			for _, l := range c.Links {
				if l.On != want.linked[id][l.Person] {
					t.Fatalf("%s and %s: linked is %v", id, l.Person, l.On)
				}
			}
			open := slices.ContainsFunc(c.Sent, func(s policy.Sent) bool { return s.Status == policy.StatusOpen && s.Kind != 'p' })
			if want.bound[id] && open {
				t.Fatalf("account %d is bound and has something open: %+v", i, c.Sent)
			}
			if slices.ContainsFunc(c.Sent, func(s policy.Sent) bool { return s.Status == policy.StatusRevoked }) {
				taken++
			}
			out, err := later.Handle(context.Background(), *w.scored(id, calm))
			if err != nil {
				t.Fatal(err)
			}
			if issued := out.Type() == event.TypeRecommendation; issued == want.bound[id] {
				t.Fatalf("account %d: bound is %v, and the next event gave %s %s", i, want.bound[id], out.Type(), out.Data())
			}
			if want.bound[id] {
				bound++
			} else {
				free++
			}
		}
	})
	if bound == 0 || free == 0 || taken == 0 {
		t.Errorf("proves nothing: %d bound, %d free, %d with something taken back", bound, free, taken)
	}
	t.Logf("%d bound, %d free, %d with something taken back", bound, free, taken)
	if v, err := fs[0].journal.Verify(context.Background(), journal.Segments{}); err != nil || len(v.Findings) > 0 {
		t.Errorf("%+v %v", v, err)
	}
}

// happenings draws what happens to the accounts.
func (w *world) happenings(t *rapid.T, ids []string, round int) (all []happening) {
	for n := range rapid.IntRange(3, 10).Draw(t, "events") {
		h := happening{what: rapid.SampledFrom([]string{"link", "link", "link", "unlink", "exclude", "score", "score"}).Draw(t, "what"),
			id: rapid.SampledFrom(ids).Draw(t, "who"), who: fmt.Sprintf("person-%d-%d", round, rapid.IntRange(0, 1).Draw(t, "person")),
			at: noon.Add(time.Duration(rapid.IntRange(-3, 0).Draw(t, "s")) * time.Second)}
		switch h.what {
		case "link":
			h.e = w.event(h.id, event.TypeAccountLinked, h.at, event.AccountLinked{Person: h.who, Reason: "payment", Confidence: int64(50 + n)})
		case "unlink":
			h.e = w.event(h.id, event.TypeAccountUnlinked, h.at, event.AccountUnlinked{Person: h.who})
		case "exclude":
			h.e = w.event(h.id, event.TypeExcluded, h.at, event.Excluded{Scheme: "operator"})
		case "score":
			h.e = w.scored(h.id, calm)
		}
		all = append(all, h)
	}
	return all
}

// deliver hands the events to the functions, each up to three times, all at once.
func (w *world) deliver(t *rapid.T, fs []*Function, all []happening, seed uint64) {
	draw := rand.New(rand.NewPCG(seed, 1))
	var work []func() error
	for _, h := range all {
		for range 1 + draw.IntN(3) {
			f := fs[draw.IntN(len(fs))]
			work = append(work, func() error { _, err := f.Handle(context.Background(), *h.e); return err })
			if h.what == "exclude" {
				work = append(work, func() error { return w.foldOnce(h.e) })
			}
		}
	}
	draw.Shuffle(len(work), func(i, j int) { work[i], work[j] = work[j], work[i] })
	var wg sync.WaitGroup
	failed := make(chan error, len(work))
	for _, do := range work {
		wg.Go(func() {
			for range 100 { // as the Broker does
				err := do()
				if err == nil {
					return
				}
				if event.IsPermanent(err) {
					failed <- err
					return
				}
			}
			failed <- context.DeadlineExceeded
		})
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Fatal(err)
	}
}

type expected struct {
	linked map[string]map[string]bool
	bound  map[string]bool
}

// reference tells what the events mean together, in whatever order they came.
func reference(ids []string, all []happening) expected {
	out := expected{map[string]map[string]bool{}, map[string]bool{}}
	excluded := map[string]bool{}
	for _, id := range ids {
		latest := map[string]happening{}
		out.linked[id] = map[string]bool{}
		for _, h := range all {
			if h.id != id {
				continue
			}
			excluded[id] = excluded[id] || h.what == "exclude"
			old, seen := latest[h.who]
			if h.what == "link" && (!seen || !h.at.Before(old.at)) || h.what == "unlink" && (!seen || h.at.After(old.at)) {
				latest[h.who] = h
			}
		}
		for who, h := range latest {
			out.linked[id][who] = h.what == "link"
		}
	}
	for _, a := range ids {
		for _, b := range ids {
			for who, on := range out.linked[b] {
				if excluded[b] && (a == b || on && out.linked[a][who]) {
					out.bound[a] = true
				}
			}
			out.bound[a] = out.bound[a] || a == b && excluded[a]
		}
	}
	return out
}

func (w *world) contacts(t *rapid.T, f *Function, id string) *policy.Contacts {
	b, err := f.journal.Contacts(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	c, err := policy.ParseContacts(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// foldOnce folds an event as profile does, however often it comes.
func (w *world) foldOnce(e *ce.Event) error {
	r, err := event.Parse(e, noon.Add(time.Hour))
	if err != nil {
		return err
	}
	_, err = w.store.Update(context.Background(), r.Subject, player.Op[feature.State]{Key: r.Key(), Fold: func(s *feature.State, dup bool, _ uint8) (player.Effects, error) {
		if dup {
			return player.Effects{}, nil
		}
		_, err := w.set.Fold(s, r)
		return player.Effects{}, err
	}})
	return err
}
