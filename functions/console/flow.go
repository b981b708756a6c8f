package console

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/cespare/xxhash/v2"

	"pitboss/internal/event"
	"pitboss/internal/search"
)

// stage is where on the path of events an event is.
type stage int

const (
	stagePlatform stage = iota // a platform's or consuming team's event, accepted by the Broker
	stageProfile               // player.updated
	stageScore                 // player.scored
	stageIssued                // recommendation.issued
	stageSuppressed
	stageOutcome // delivered, accepted, dismissed, expired
	stageTimer   // reminder.due
	stageOther
	stages
)

var stageNames = [stages]string{"platform", "profile", "score", "issued", "suppressed", "outcome", "timer", "other"}

// history is how many seconds of counts are kept for the charts.
const history = 180

// flow counts every event exactly and keeps the latencies of the last minute. One
// lock is enough: an event holds it for well under a microsecond.
type flow struct {
	now func() time.Time

	mu      sync.Mutex
	total   int64
	again   int64 // redelivered events, which total leaves out
	types   map[string]int64
	byStage [stages]int64
	second  ring[[stages]int32]       // the last history seconds
	recent  [2]map[uint64]struct{}    // event keys seen, in two generations
	origins [2]map[uint64]*milestones // by origin event, in two generations
	hops    map[string]*window
	rules   map[string]*ruleCount
	actions map[string]int64
	law     map[string]int64 // issued decisions by jurisdiction
	places  map[place]*placeFlow
}

// ring holds the counts of each of the last seconds or minutes, numbered since 1970. Its
// length says how many.
type ring[N any] []struct {
	at int64
	n  N
}

// at returns the counts of a second or minute, to add to.
func (r ring[N]) at(at int64) *N {
	slot := &r[at%int64(len(r))]
	if slot.at != at {
		var none N
		slot.at, slot.n = at, none
	}
	return &slot.n
}

// in returns the counts of a second or minute. They are zero if nothing was counted in it.
func (r ring[N]) in(at int64) (n N) {
	if slot := &r[at%int64(len(r))]; slot.at == at {
		n = slot.n
	}
	return n
}

// milestones are when the Broker accepted an origin event and those that follow from it.
type milestones struct{ received, updated, scored, decided time.Time }

type ruleCount struct {
	n    int64
	text string
}

// generation bounds how many keys one generation remembers. When the younger one is
// full, it replaces the older one.
const generation = 1 << 16

func newFlow(now func() time.Time) *flow {
	f := &flow{now: now, second: make(ring[[stages]int32], history), types: map[string]int64{}, hops: map[string]*window{}, rules: map[string]*ruleCount{},
		actions: map[string]int64{}, law: map[string]int64{}, places: map[place]*placeFlow{}}
	for i := range f.recent {
		f.recent[i] = map[uint64]struct{}{}
		f.origins[i] = map[uint64]*milestones{}
	}
	for _, hop := range []string{"profile", "score", "decide", "consumers", "total", "event"} {
		f.hops[hop] = newWindow()
	}
	return f
}

// stageOf is the stage of events of a type.
func stageOf(typ string) stage {
	switch typ {
	case event.TypePlayerUpdated:
		return stageProfile
	case event.TypePlayerScored:
		return stageScore
	case event.TypeRecommendation:
		return stageIssued
	case event.TypeSuppressed:
		return stageSuppressed
	case event.TypeReminderDue:
		return stageTimer
	case event.TypeDelivered, event.TypeAccepted, event.TypeDismissed, event.TypeExpired:
		return stageOutcome
	}
	if info, ok := event.Lookup(typ); ok && info.Direction == event.In {
		return stagePlatform
	}
	return stageOther
}

// count counts the event and returns true, or false if it was counted before.
func (f *flow) count(s *seen) bool {
	key, st := event.Key(s.Source, s.ID), stageOf(s.Type)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.remembered(key) {
		f.again++
		return false
	}
	f.total++
	f.byStage[st]++
	if _, known := f.types[s.Type]; known || len(f.types) < 64 {
		f.types[s.Type]++ // bounded, since anybody can invent types
	}
	f.second.at(s.At.Unix())[st]++
	f.time(s, st)
	return true
}

func (f *flow) remembered(key uint64) bool {
	if _, ok := f.recent[0][key]; ok {
		return true
	}
	if _, ok := f.recent[1][key]; ok {
		return true
	}
	if len(f.recent[0]) >= generation {
		f.recent[1], f.recent[0] = f.recent[0], make(map[uint64]struct{}, generation)
	}
	f.recent[0][key] = struct{}{}
	return false
}

// time records how long each hop took. A hop ends when the Broker accepts its
// reply, so the console's own lag is not part of it.
func (f *flow) time(s *seen, st stage) {
	switch st {
	case stageProfile, stageScore, stageIssued, stageSuppressed:
	default:
		return
	}
	if s.Received.IsZero() || s.Player == "" {
		return
	}
	done := s.Arrived
	if done.IsZero() {
		done = s.At
	}
	w := f.originOf(s)
	switch st {
	case stageProfile:
		w.updated = done
	case stageScore:
		w.scored = done
	default:
		w.decided = done
		f.hops["consumers"].record(s.At, s.At.Sub(done))
		f.hops["total"].record(s.At, done.Sub(s.Received))
	}
	// Events arrive in any order. A hop is recorded when its second end arrives.
	if st != stageScore && st != stageProfile {
		f.hop("decide", s.At, w.scored, w.decided)
		return
	}
	if st == stageProfile {
		f.hop("profile", s.At, w.received, w.updated)
	}
	f.hop("score", s.At, w.updated, w.scored)
	if st == stageScore {
		f.hop("decide", s.At, w.scored, w.decided)
	}
}

func (f *flow) hop(name string, at, from, to time.Time) {
	if !from.IsZero() && !to.IsZero() {
		f.hops[name].record(at, to.Sub(from))
	}
}

// originOf finds the milestones of the event's origin, which the player and the time of
// receipt identify.
func (f *flow) originOf(s *seen) *milestones {
	key := xxhash.Sum64String(s.Player) ^ uint64(s.Received.UnixNano())
	for _, g := range f.origins {
		if w, ok := g[key]; ok {
			return w
		}
	}
	if len(f.origins[0]) >= generation/4 {
		f.origins[1], f.origins[0] = f.origins[0], make(map[uint64]*milestones, generation/4)
	}
	w := &milestones{received: s.Received}
	f.origins[0][key] = w
	return w
}

// maxRules bounds how many names one map counts.
const maxRules = 512

// decided counts a decision by action and jurisdiction, or by the rule that blocked it.
func (f *flow) decided(d *decision) {
	if d.Verdict == "revoked" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !d.Trigger.Time.IsZero() {
		if lag := d.at.Sub(d.Trigger.Time); lag > 0 && lag < time.Hour { // the events of a replayed file may be years old
			f.hops["event"].record(d.at, lag)
		}
	}
	here := f.at(place{d.Jurisdiction, d.Brand})
	if d.Verdict == "issued" {
		countName(f.actions, d.Action)
		if here != nil {
			here.add(0, d.at)
			countName(here.actions, d.Action)
		}
		countName(f.law, d.Jurisdiction)
		return
	}
	id, text := d.blockedBy()
	countRule(f.rules, id, text)
	if here != nil {
		here.add(1, d.at)
		countRule(here.rules, id, text)
	}
}

func countName(counts map[string]int64, name string) {
	if len(counts) < maxRules || counts[name] > 0 {
		counts[name]++
	}
}

func countRule(rules map[string]*ruleCount, id, text string) {
	r, ok := rules[id]
	if !ok {
		if len(rules) >= maxRules {
			return
		}
		r = &ruleCount{}
		rules[id] = r
	}
	r.n++
	r.text = text
}

// flowView is the flow as the page shows it.
type flowView struct {
	At      time.Time           `json:"at"`
	Total   int64               `json:"total"`
	Again   int64               `json:"redelivered"`
	Stages  map[string]stageNow `json:"stages"`
	Hops    map[string]hopNow   `json:"hops"`
	Rules   []counted           `json:"rules"`
	Actions []counted           `json:"actions"`
	Law     []counted           `json:"jurisdictions"`
	Types   []counted           `json:"types"`
	// Second holds the counts of the last whole second, for the charts.
	Second secondView `json:"second"`
}

type secondView struct {
	Unix int64            `json:"unix"`
	N    map[string]int32 `json:"n"`
}

type stageNow struct {
	Total int64   `json:"total"`
	Rate  float64 `json:"rate"` // per second, the mean of the last five whole seconds
}

type hopNow struct {
	N   int64   `json:"n"` // in the last minute
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

type counted = search.Count

// view returns the flow as it is now.
func (f *flow) view(now time.Time) flowView {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := flowView{At: now, Total: f.total, Again: f.again, Stages: map[string]stageNow{}, Hops: map[string]hopNow{}}
	for st := range stages {
		v.Stages[stageNames[st]] = stageNow{f.byStage[st], f.rate(st, now)}
	}
	for name, w := range f.hops {
		v.Hops[name] = w.now(now)
	}
	v.Second = secondView{Unix: now.Unix() - 1, N: map[string]int32{}}
	if counts := f.second.in(v.Second.Unix); counts != ([stages]int32{}) {
		for st, n := range counts {
			v.Second.N[stageNames[st]] = n
		}
	}
	v.Rules = topRules(f.rules)
	v.Actions, v.Law, v.Types = topOf(f.actions, 10), topOf(f.law, 12), topOf(f.types, 40)
	return v
}

const rateOver = 5 // seconds

func (f *flow) rate(st stage, now time.Time) float64 {
	var n int64
	for back := int64(1); back <= rateOver; back++ {
		n += int64(f.second.in(now.Unix() - back)[st])
	}
	return float64(n) / rateOver
}

// series returns the counts of each of the last seconds, oldest first, by stage.
func (f *flow) series(now time.Time) map[string][]int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string][]int32{}
	for st := range stages {
		line := make([]int32, 0, history-1)
		for back := int64(history - 1); back >= 1; back-- {
			line = append(line, f.second.in(now.Unix() - back)[st])
		}
		out[stageNames[st]] = line
	}
	return out
}

func topRules(rules map[string]*ruleCount) []counted {
	out := make([]counted, 0, len(rules))
	for id, r := range rules {
		out = append(out, counted{Name: id, N: r.n, Text: r.text})
	}
	return top(out, 12)
}

func topOf(m map[string]int64, n int) []counted {
	out := make([]counted, 0, len(m))
	for name, c := range m {
		out = append(out, counted{Name: name, N: c})
	}
	return top(out, n)
}

func top(list []counted, n int) []counted {
	slices.SortFunc(list, func(a, b counted) int { return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Name, b.Name)) })
	return list[:min(n, len(list))]
}

// window keeps the latencies of the last minute in six histograms of ten seconds each.
type window struct {
	part [6]*hdrhistogram.Histogram
	tens [6]int64 // which ten seconds, since 1970, a part holds
}

func newWindow() *window {
	w := &window{}
	for i := range w.part { // microseconds, up to ten minutes, two digits
		w.part[i] = hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 2)
	}
	return w
}

func (w *window) record(at time.Time, d time.Duration) {
	tens := at.Unix() / 10
	i := tens % int64(len(w.part))
	if w.tens[i] != tens {
		w.part[i].Reset()
		w.tens[i] = tens
	}
	_ = w.part[i].RecordValue(max(1, d.Microseconds())) // fails only over ten minutes
}

func (w *window) now(at time.Time) hopNow {
	sum := hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 2)
	for i, h := range w.part {
		if at.Unix()/10-w.tens[i] < int64(len(w.part)) {
			sum.Merge(h)
		}
	}
	return hopNow{sum.TotalCount(), float64(sum.ValueAtQuantile(50)) / 1000, float64(sum.ValueAtQuantile(99)) / 1000}
}
