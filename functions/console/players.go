package console

import (
	"container/list"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"pitboss/internal/event"
)

// Bounds on what is kept of one player. The budget in bytes bounds all of them.
const (
	keptEvents = 60      // platform events and outcomes
	keptScored = 24      // player.scored (or .updated): features and scores over time
	keptBody   = 4 << 10 // bytes of a platform event's data
)

// players keeps the recent events of the most recently active players within a budget
// of bytes (LRU). It serves the timeline; states are in Redis and decisions in the
// journal.
type players struct {
	mu     sync.Mutex
	budget int64
	used   int64
	byID   map[string]*list.Element // of *timeline
	order  *list.List               // most recent first
	gone   []erased
}

type timeline struct {
	player string
	events []*seen
	scored []*seen
	bytes  int64
	count  int64
	first  time.Time

	jurisdiction, brand string // as in the latest event that names them
}

func newPlayers(budget int64) *players {
	return &players{budget: max(budget, 1<<20), byID: map[string]*list.Element{}, order: list.New()}
}

// overhead is roughly the size of a kept event without its data, in bytes.
const overhead = 320

func (ps *players) add(s *seen) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	el, ok := ps.byID[s.Player]
	if !ok {
		el = ps.order.PushFront(&timeline{player: s.Player, first: s.At})
		ps.byID[s.Player] = el
		ps.used += overhead
	} else {
		ps.order.MoveToFront(el)
	}
	t := el.Value.(*timeline)
	before := t.bytes
	t.add(s)
	ps.used += t.bytes - before
	for ps.used > ps.budget && ps.order.Len() > 1 {
		ps.drop(ps.order.Back())
	}
}

func (ps *players) drop(el *list.Element) {
	t := el.Value.(*timeline)
	ps.used -= t.bytes + overhead
	delete(ps.byID, t.player)
	ps.order.Remove(el)
}

// erased is an erased player. Open pages are told, so that they stop showing the
// player's data.
type erased struct {
	player, jurisdiction, brand string
	at                          time.Time
}

// erasedFor is how long frames name an erased player. A hidden page may be late.
const erasedFor = time.Minute

// forget drops an erased player.
func (ps *players) forget(player string, now time.Time) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	gone := erased{player: player, at: now}
	if el, ok := ps.byID[player]; ok {
		t := el.Value.(*timeline)
		gone.jurisdiction, gone.brand = t.jurisdiction, t.brand
		ps.drop(el)
	}
	ps.gone = append(ps.gone, gone)
}

// erasedLately returns the players who were erased within erasedFor.
func (ps *players) erasedLately(now time.Time) []erased {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for len(ps.gone) > 0 && now.Sub(ps.gone[0].at) > erasedFor {
		ps.gone = ps.gone[1:]
	}
	return slices.Clone(ps.gone)
}

func (t *timeline) add(s *seen) {
	t.count++
	if s.Jurisdiction != "" {
		t.jurisdiction, t.brand = s.Jurisdiction, s.Brand
	}
	line, keep := &t.events, keptEvents
	switch {
	case s.Type == event.TypePlayerScored, s.Type == event.TypePlayerUpdated:
		line, keep = &t.scored, keptScored
		t.supersede(s)
	case len(s.Data) > keptBody && stageOf(s.Type) != stageIssued && stageOf(s.Type) != stageSuppressed:
		s.Data = nil
	}
	if len(*line) >= keep {
		t.bytes -= size((*line)[0])
		*line = append((*line)[:0], (*line)[1:]...)
	}
	*line = append(*line, s)
	t.bytes += size(s)
}

// supersede drops the data of a player.updated when its player.scored is there, in
// whichever order they arrive: player.scored contains all of it.
func (t *timeline) supersede(s *seen) {
	for _, old := range t.scored {
		if old.Type == s.Type || !old.Received.Equal(s.Received) || old.Data == nil {
			continue
		}
		if old.Type == event.TypePlayerUpdated {
			t.bytes -= int64(len(old.Data))
			old.Data = nil
		} else {
			s.Data = nil
		}
	}
}

func size(s *seen) int64 { return overhead + int64(len(s.Data)) }

// found is a player that a search found.
type found struct {
	Player string    `json:"player"`
	Events int64     `json:"events"`
	Last   time.Time `json:"last"`
}

// search lists up to max players whose id contains text and whose place sees allows,
// most recent first.
func (ps *players) search(text string, max int, sees func(jurisdiction, brand string) bool) []found {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	out := []found{}
	for el := ps.order.Front(); el != nil && len(out) < max; el = el.Next() {
		t := el.Value.(*timeline)
		if strings.Contains(strings.ToLower(t.player), strings.ToLower(text)) && sees(t.jurisdiction, t.brand) {
			out = append(out, found{t.player, t.count, t.last()})
		}
	}
	return out
}

func (t *timeline) last() (at time.Time) {
	for _, line := range [][]*seen{t.events, t.scored} {
		if n := len(line); n > 0 && line[n-1].At.After(at) {
			at = line[n-1].At
		}
	}
	return at
}

// snapshot copies what is kept of a player.
func (ps *players) snapshot(player string) (events, scored []*seen, count int64, ok bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	el, ok := ps.byID[player]
	if !ok {
		return nil, nil, 0, false
	}
	t := el.Value.(*timeline)
	copied := func(line []*seen) []*seen {
		out := make([]*seen, len(line))
		for i, s := range line {
			c := *s
			out[i] = &c
		}
		return out
	}
	return copied(t.events), copied(t.scored), t.count, true
}

// kept returns how many players are kept, and in how many bytes.
func (ps *players) kept() (n int, bytes int64) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return len(ps.byID), ps.used
}

// moment is one event of a player's timeline as the page shows it.
type moment struct {
	Type     string         `json:"type"`
	Source   string         `json:"source"`
	ID       string         `json:"id"`
	Time     time.Time      `json:"time"`
	At       time.Time      `json:"at"`
	Trace    string         `json:"trace,omitzero"`
	Data     jsontext.Value `json:"data,omitzero"`
	Decision *decision      `json:"decision,omitzero"`
	Refused  []refusal      `json:"refused,omitempty"` // why it became a dead letter, by Trigger
}

// scoring is a player.scored, or a player.updated that is not scored yet.
type scoring struct {
	ID       string             `json:"id"`
	AsOf     time.Time          `json:"as_of"`
	Version  string             `json:"version"`
	Due      []string           `json:"due"`
	Trigger  event.Trigger      `json:"trigger"`
	Scores   map[string]float64 `json:"scores,omitempty"`
	Models   []event.ModelRun   `json:"models,omitempty"`
	Ranking  []event.Ranked     `json:"ranking,omitempty"`
	Features map[string]float64 `json:"features"`
	Facts    event.Facts        `json:"facts"`
}

func scoringOf(s *seen) *scoring {
	var data event.PlayerScored
	if s.Data == nil || json.Unmarshal(s.Data, &data) != nil {
		return nil
	}
	out := &scoring{ID: s.ID, AsOf: data.AsOf, Version: data.Version, Due: data.Due, Trigger: data.Trigger, Scores: data.Scores,
		Models: data.Models, Ranking: data.Ranking, Facts: data.Facts}
	_ = json.Unmarshal(data.Features, &out.Features) // a player.updated without features shows none
	return out
}

// momentOf turns an event into a moment. It leaves out data that is not JSON.
func momentOf(s *seen, ds *decisions) moment {
	m := moment{Type: s.Type, Source: s.Source, ID: s.ID, Time: s.Time, At: s.At, Trace: s.Trace}
	if d, ok := ds.get(s.ID); ok {
		m.Decision = d
	} else if v := jsontext.Value(s.Data); v.IsValid() {
		m.Data = v
	}
	return m
}
