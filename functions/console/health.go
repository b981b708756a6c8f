package console

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"pitboss/internal/policy"
)

// trouble is one thing that is wrong with the service. Code names its kind; the page
// has the texts.
type trouble struct {
	Code  string    `json:"code"`
	What  string    `json:"what,omitzero"` // jurisdiction, brand, model, action, rule
	Name  string    `json:"name,omitzero"`
	N     float64   `json:"n,omitzero"`
	Since time.Time `json:"since,omitzero"`
	By    string    `json:"by,omitzero"`
	Note  string    `json:"note,omitzero"`
	Href  string    `json:"href"`
}

// placeNow says what the players of a jurisdiction or a brand get.
type placeNow struct {
	Name    string    `json:"name"`
	Decided int64     `json:"decided"`
	Issued  int64     `json:"issued"`
	Blocked int64     `json:"blocked"`
	Nothing int64     `json:"nothing"`       // decisions with no eligible action
	Last    time.Time `json:"last,omitzero"` // when something was last issued
	Starved bool      `json:"starved,omitzero"`

	first, seen time.Time
	run         int64 // decisions since something was last issued
}

// starvedAfter is how many decisions in a row may issue nothing before that is no
// longer chance. If a share p of a place's decisions issues something, 20/p in a row
// issue nothing with a probability of (1-p)^(20/p), about e^-20. For a place where
// nothing was ever issued it is 500.
func (p *placeNow) starvedAfter() int64 {
	if p.Issued == 0 {
		return 500
	}
	return max(200, 20*p.Decided/p.Issued)
}

// quietFor is how long after its last decision a place can still count as starved.
const quietFor = time.Hour

func (p *placeNow) starved(now time.Time) bool {
	return p.run >= p.starvedAfter() && now.Sub(p.seen) < quietFor
}

// ratedMinutes is for how many minutes a model's missing scores are counted.
const ratedMinutes = 5

// What was known of a model's score when a decision was made.
const (
	scoreKnown   = iota
	scoreMissing // the model failed, does not cover such players, or is off
	scoreTooNew  // the player's history is still too short for the model
	scoreStates
)

// rated counts, by minute, the decisions in each score state.
type rated struct{ minutes ring[[scoreStates]int64] }

func (r *rated) add(now time.Time, state int) { r.minutes.at(now.Unix() / 60)[state]++ }

// modelNow says for how many of the last decisions a model's score was known.
type modelNow struct {
	Name   string  `json:"name"`
	N      int64   `json:"n"`       // decisions
	TooNew float64 `json:"too_new"` // the share about players who are too new for the model
	// Missing is the share of the other decisions whose score is missing, whatever the
	// reason.
	Missing float64 `json:"missing"`

	known, missing int64
}

func (r *rated) now(name string, now time.Time) modelNow {
	var sum [scoreStates]int64
	for back := range int64(ratedMinutes) {
		for state, n := range r.minutes.in(now.Unix()/60 - back) {
			sum[state] += n
		}
	}
	v := modelNow{Name: name, N: sum[scoreKnown] + sum[scoreMissing] + sum[scoreTooNew], known: sum[scoreKnown], missing: sum[scoreMissing]}
	v.TooNew = share(sum[scoreTooNew], v.N)
	v.Missing = share(v.missing, v.known+v.missing)
	return v
}

func share(n, of int64) float64 { return float64(n) / float64(max(1, of)) }

// health counts decisions by place and by score state, to find places that get
// nothing and models that do not answer.
type health struct {
	mu     sync.Mutex
	places map[string]map[string]*placeNow // jurisdiction | brand, by name
	models map[string]*rated
	began  map[string]time.Time // when a trouble was first seen, if it does not say itself since when it lasts
}

func newHealth() *health {
	return &health{places: map[string]map[string]*placeNow{"jurisdiction": {}, "brand": {}}, models: map[string]*rated{}, began: map[string]time.Time{}}
}

// decided counts a decision.
func (h *health) decided(d *decision, now time.Time) {
	if d.Verdict == "revoked" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for by, name := range map[string]string{"jurisdiction": d.Jurisdiction, "brand": d.Brand} {
		if p := h.place(by, name, now); p != nil {
			p.note(d, now)
		}
	}
	for name := range d.Scores {
		h.model(name).add(now, scoreKnown)
	}
	for _, r := range d.Reasons {
		if name, ok := strings.CutPrefix(r.Code, policy.NotRated); ok {
			h.model(name).add(now, scoreMissing)
		}
		if name, ok := strings.CutPrefix(r.Code, policy.TooNew); ok {
			h.model(name).add(now, scoreTooNew)
		}
	}
}

func (h *health) place(by, name string, now time.Time) *placeNow {
	p := h.places[by][name]
	if p == nil && name != "" && len(h.places[by]) < maxRules {
		p = &placeNow{Name: name, first: now}
		h.places[by][name] = p
	}
	return p
}

func (p *placeNow) note(d *decision, now time.Time) {
	p.Decided++
	p.seen = now
	p.run++
	id, _ := d.blockedBy()
	switch {
	case d.Verdict == "issued":
		p.Issued++
		p.run, p.Last = 0, now
	case id == "nothing-eligible":
		p.Nothing++
	default:
		p.Blocked++
	}
}

func (h *health) model(name string) *rated {
	r := h.models[name]
	if r == nil {
		r = &rated{make(ring[[scoreStates]int64], ratedMinutes)}
		if len(h.models) < maxRules {
			h.models[name] = r
		}
	}
	return r
}

// A model is a trouble if more than missingMost of at least missingLeast decisions
// lack its score. Decisions about players who are too new do not count.
const (
	missingMost  = .10
	missingLeast = 50
)

// troubles lists the places that get nothing and the models that do not answer.
func (h *health) troubles(now time.Time) (out []trouble) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for by, places := range h.places {
		for _, p := range places {
			if p.starved(now) {
				out = append(out, trouble{Code: "place-starved", What: by, Name: p.Name, N: float64(p.run), Since: cmp.Or(p.Last, p.first),
					Href: "/decisions?" + by + "=" + p.Name})
			}
		}
	}
	for name, r := range h.models {
		if m := r.now(name, now); m.known+m.missing >= missingLeast && m.Missing > missingMost {
			out = append(out, trouble{Code: "model-silent", What: "model", Name: name, N: m.Missing, Href: "/models"})
		}
	}
	return out
}

// scores lists the models that decisions of the last minutes asked, by name.
func (h *health) scores(now time.Time) []modelNow {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]modelNow, 0, len(h.models))
	for name, r := range h.models {
		if m := r.now(name, now); m.N > 0 {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b modelNow) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// view lists the places, those with the most decisions first.
func (h *health) view(now time.Time) map[string][]placeNow {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string][]placeNow{}
	for by, places := range h.places {
		list := make([]placeNow, 0, len(places))
		for _, p := range places {
			one := *p
			one.Starved = p.starved(now)
			list = append(list, one)
		}
		slices.SortFunc(list, func(a, b placeNow) int { return cmp.Or(cmp.Compare(b.Decided, a.Decided), cmp.Compare(a.Name, b.Name)) })
		out[by] = list
	}
	return out
}

// dated sets Since of troubles that lack it to when they were first seen, forgets
// those that are over, and sorts the list by age.
func (h *health) dated(list []trouble, now time.Time) []trouble {
	h.mu.Lock()
	defer h.mu.Unlock()
	there := map[string]bool{}
	for i := range list {
		t := &list[i]
		key := t.Code + "\x00" + t.What + "\x00" + t.Name
		there[key] = true
		if t.Since.IsZero() {
			if h.began[key].IsZero() {
				h.began[key] = now
			}
			t.Since = h.began[key]
		}
	}
	for key := range h.began {
		if !there[key] {
			delete(h.began, key)
		}
	}
	slices.SortStableFunc(list, func(a, b trouble) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// Above these the page shows a trouble.
const (
	slowMs  = 1000 // p99 from the POST to the decision
	lagMost = 5000 // events that wait for one subscriber
)

// troubles lists everything that is wrong now, the oldest first.
func (f *Function) troubles(fr *frame, now time.Time) []trouble {
	list := f.health.troubles(now)
	add := func(when bool, t trouble) {
		if when {
			list = append(list, t)
		}
	}
	b, flow := &fr.Broker, &fr.Flow
	add(b.Error != "", trouble{Code: "broker-unread", Note: b.Error, Href: "/"})
	add(b.Full != "", trouble{Code: "broker-full", Note: b.Full, Href: "/"})
	add(b.lostEvents() > 0, trouble{Code: "broker-lost", N: float64(b.lostEvents()), Href: "/"})
	add(fr.Lately > 0, trouble{Code: "dead-letters", N: float64(fr.Lately), Href: "/deadletters"})
	for _, t := range b.Triggers {
		add(t.Lag > lagMost && !strings.Contains(t.Name, "console"), trouble{Code: "lag", What: "trigger", Name: t.Name, N: float64(t.Lag), Href: "/"})
	}
	p99 := flow.Hops["total"].P99
	add(p99 > slowMs, trouble{Code: "slow", N: p99, Href: "/"})
	decided := flow.Stages["issued"].Rate + flow.Stages["suppressed"].Rate
	add(flow.Stages["platform"].Rate > 5 && flow.Stages["score"].Rate > 1 && decided == 0, trouble{Code: "nothing-decided", Href: "/"})
	add(fr.SwitchWhy != "", trouble{Code: "switches-unread", Note: fr.SwitchWhy, Href: "/rules"})
	for _, s := range fr.Switches {
		add(true, trouble{Code: "switch-on", What: s.What, Name: s.Name, Since: s.At, By: s.Who, Note: s.Note, Href: "/rules"})
	}
	return f.health.dated(list, now)
}
