// Package simulator simulates plausible players: for `make run`, for load with a realistic
// mix of events, and for tests that must not use real players' data.
//
// A [World] is deterministic: the same seed gives the same events in the same order of event
// time, however fast they are sent. Players register, deposit, launch games that sometimes
// fail, play rounds with a house edge, chase losses if that is their character, contact
// support, and leave, sooner if their experience is bad. The proportions are plausible, not
// measured.
package simulator

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
)

// Source is the source attribute of simulated events.
const Source = "/simulator"

// Config of a World.
type Config struct {
	Seed    uint64
	Players int       // the number of players
	Start   time.Time // event time of the first event
	// Pace divides every pause outside play, so that a demonstration shows in minutes what
	// takes hours. 1 is realistic.
	Pace float64
	// Guests adds guests, who demonstrate the effect of the law on marketing.
	Guests bool
	// History gives the players a past before Start, as nearly all players of a platform
	// have one, so that models that need a history score them from the beginning.
	History bool
}

// World is a casino with players. It is not safe for concurrent use.
type World struct {
	cfg   Config
	rng   *rand.Rand
	queue agenda
	byID  map[string]*player
	seq   int
	out   []*ce.Event // produced, not yet taken
}

// New returns a World in which no event has happened yet.
func New(cfg Config) *World {
	if cfg.Pace <= 0 {
		cfg.Pace = 1
	}
	w := &World{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x9e3779b97f4a7c15)), byID: map[string]*player{}}
	for i := range cfg.Players {
		p := w.newPlayer(i)
		w.byID[p.id] = p
		w.later(p, time.Duration(w.rng.Float64()*float64(2*time.Minute)/cfg.Pace), (*player).register)
	}
	if cfg.Guests {
		w.door()
	}
	return w
}

// Next returns the next event in order of event time. It never ends.
func (w *World) Next() *ce.Event {
	for len(w.out) == 0 {
		step := heap.Pop(&w.queue).(step)
		step.player.now = step.at
		step.do(step.player)
	}
	e := w.out[0]
	w.out = w.out[1:]
	return e
}

// Peek returns the event time of the next step, so that a sender can wait for it.
func (w *World) Peek() time.Time {
	if len(w.out) > 0 {
		return w.out[0].Time()
	}
	return w.queue[0].at
}

// step is a scheduled action of a player.
type step struct {
	at     time.Time
	seq    int // breaks ties, so that the order is total
	player *player
	do     func(*player)
}

type agenda []step

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at.Equal(a[j].at) {
		return a[i].seq < a[j].seq
	}
	return a[i].at.Before(a[j].at)
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(step)) }
func (a *agenda) Pop() any {
	last := len(*a) - 1
	s := (*a)[last]
	*a = (*a)[:last]
	return s
}

// later schedules a step after d of the player's own time.
func (w *World) later(p *player, d time.Duration, do func(*player)) {
	w.seq++
	at := p.now
	if at.IsZero() {
		at = w.cfg.Start
	}
	heap.Push(&w.queue, step{at: at.Add(d), seq: w.seq, player: p, do: do})
}

// emit produces an event of the player at the player's current time.
func (w *World) emit(p *player, typ string, data any) *ce.Event { return w.emitAt(p, p.now, typ, data) }

// emitAt produces an event of the player at a time.
func (w *World) emitAt(p *player, at time.Time, typ string, data any) *ce.Event {
	w.seq++
	e := ce.New()
	e.SetID(fmt.Sprintf("%x-%d", w.cfg.Seed, w.seq))
	e.SetSource(Source)
	e.SetType(typ)
	e.SetSubject(p.id)
	e.SetTime(at)
	e.SetDataSchema(event.SchemaURI(typ))
	e.SetExtension(event.ExtPartitionKey, p.id)
	e.SetDataContentType(ce.ApplicationJSON)
	body, err := json.Marshal(data)
	if err != nil {
		panic("simulator: " + err.Error()) // our own plain structs always marshal
	}
	e.DataEncoded = body
	w.out = append(w.out, &e)
	return &e
}

// chance is true with probability p.
func (w *World) chance(p float64) bool { return w.rng.Float64() < p }

// about draws a duration with the mean d from a capped exponential distribution.
func (w *World) about(d time.Duration) time.Duration {
	return time.Duration(float64(d) * min(w.rng.ExpFloat64(), 5))
}
