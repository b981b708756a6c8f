// Package trainingset folds a file of events exactly as serving does and
// writes, for each decision point, the features as they were right after the
// event (point-in-time) and what happened next (labels).
//
// Memory is bounded by the players (about 500 bytes each: the stored form of
// their state), by the traffic of one label horizon, and by a fixed number of
// decoded states; never by the length of the file.
package trainingset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// Points says which events are decision points.
type Points string

// The choices of decision points.
const (
	Rounds    Points = "rounds"     // every settled round
	ScoreWhen Points = "score_when" // those serving would score
	All       Points = "all"        // every applied event
)

// Options of a run.
type Options struct {
	Set    *feature.Set
	Labels []*feature.Label
	Points Points
	// Games adds the player's recent games, event.Facts.RecentGames, to each row.
	Games bool
	// Decoded is how many players' states are kept decoded; 0: 2048.
	Decoded int
}

// Totals of a run.
type Totals struct {
	Events  int64
	Late    int64 // kept out of the features
	Rows    int64
	Players int64
}

// Row is one decision point.
type Row struct {
	Player string // event.HashPlayer of the player id
	Time   time.Time
	ID     string // of the event
	Type   string // of the event, short
	Due    []string
	Games  []string // with Options.Games
	Vector []float64
	Labels []LabelValue
}

// LabelValue is a label's value; Known is false where the file ended too early.
type LabelValue struct {
	feature.Drawn
	Known bool
}

// Sink takes finished rows in the order of their events. The row and its
// slices are reused after the call.
type Sink interface {
	Write(*Row) error
}

// Run reads events until next returns io.EOF and writes a row per decision point.
func Run(ctx context.Context, opt Options, next func() (*event.Record, error), sink Sink) (Totals, error) {
	b, err := newBuilder(opt, sink)
	if err != nil {
		return Totals{}, err
	}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return b.totals, ctx.Err()
		}
		r, err := next()
		if errors.Is(err, io.EOF) {
			return b.totals, b.finish()
		}
		if err != nil {
			return b.totals, err
		}
		if err := b.add(r); err != nil {
			return b.totals, fmt.Errorf("training set: event %s: %w", r.ID, err)
		}
	}
}

// builder holds the rows whose labels are not settled yet, oldest first.
type builder struct {
	opt    Options
	sink   Sink
	totals Totals

	players *players
	ahead   []int64 // ms per label
	longest int64
	queue   []*pending // from head on
	head    int
	spare   []*pending
	latest  int64 // ms: the latest event time read
}

// pending is a row that waits for its labels.
type pending struct {
	row    Row
	player string
	ms     int64
	open   int    // labels that events can still change
	done   []bool // by label
}

func newBuilder(opt Options, sink Sink) (*builder, error) {
	if opt.Decoded == 0 {
		opt.Decoded = 2048
	}
	switch opt.Points {
	case Rounds, ScoreWhen, All:
	default:
		return nil, fmt.Errorf("training set: points are %q: want rounds, score_when or all", opt.Points)
	}
	b := &builder{opt: opt, sink: sink}
	for _, l := range opt.Labels {
		ms := l.Ahead().Milliseconds()
		b.ahead = append(b.ahead, ms)
		b.longest = max(b.longest, ms)
	}
	var err error
	b.players, err = newPlayers(opt.Set, opt.Decoded)
	return b, err
}

// add folds one event, settles what it says about earlier rows, and opens a
// row of its own where it is a decision point.
func (b *builder) add(r *event.Record) error {
	b.totals.Events++
	p, err := b.players.get(r.Subject)
	if err != nil {
		return err
	}
	b.totals.Players = b.players.seen
	ms := r.Time.UnixMilli()
	b.latest = max(b.latest, ms)
	b.settle(p, r, ms)
	out, err := b.opt.Set.Fold(p.state, r)
	if err != nil {
		return err
	}
	if out.Late {
		b.totals.Late++
		return nil
	}
	if b.isPoint(r, out.Due) {
		b.open(p, r, &out)
	}
	return b.flush(b.latest - b.longest)
}

func (b *builder) isPoint(r *event.Record, due []string) bool {
	switch b.opt.Points {
	case Rounds:
		return r.Type == event.TypeRoundSettled
	case ScoreWhen:
		return len(due) > 0
	default:
		return true
	}
}

func (b *builder) open(p *player, r *event.Record, out *feature.Outcome) {
	var row *pending
	if n := len(b.spare); n > 0 {
		row, b.spare = b.spare[n-1], b.spare[:n-1]
	} else {
		row = &pending{done: make([]bool, len(b.ahead)), row: Row{Labels: make([]LabelValue, len(b.ahead))}}
	}
	vector := row.row.Vector[:0]
	if out.Vector != nil {
		vector = append(vector, out.Vector...)
	} else {
		vector = b.opt.Set.Vector(vector, p.state, p.state.AsOf())
	}
	clear(row.done)
	clear(row.row.Labels)
	row.player, row.ms, row.open = r.Subject, r.Time.UnixMilli(), len(b.ahead)
	games := row.row.Games[:0]
	if b.opt.Games {
		games = p.state.RecentGames(games)
	}
	row.row = Row{Player: p.hash, Time: r.Time, ID: r.ID, Type: r.Type, Due: out.Due, Games: games, Vector: vector, Labels: row.row.Labels}
	for i, l := range b.opt.Labels {
		if l.Agg == feature.LabelNone {
			row.row.Labels[i].Number = 1
		}
	}
	b.queue = append(b.queue, row)
	if row.open > 0 {
		p.waiting = append(p.waiting, row)
	}
	b.totals.Rows++
}

// settle shows an event to the player's waiting rows.
func (b *builder) settle(p *player, r *event.Record, ms int64) {
	if len(p.waiting) == 0 {
		return
	}
	for i, l := range b.opt.Labels {
		v, ok := l.Draw(r)
		for _, row := range p.waiting {
			if row.done[i] || ms < row.ms {
				continue
			}
			if ms-row.ms > b.ahead[i] {
				row.close(i)
			} else if ok {
				row.take(i, l.Agg, v)
			}
		}
	}
	kept := p.waiting[:0]
	for _, row := range p.waiting {
		if row.open > 0 {
			kept = append(kept, row)
		}
	}
	clear(p.waiting[len(kept):])
	p.waiting = kept
}

func (row *pending) close(i int) {
	row.done[i] = true
	row.open--
}

// take counts an event for label i; most labels are settled by the first.
func (row *pending) take(i int, agg feature.Agg, v feature.Drawn) {
	l := &row.row.Labels[i]
	switch agg {
	case feature.Count, feature.Sum:
		l.Number += v.Number
		return
	case feature.LabelNone:
		l.Number = 0
	case feature.LabelAny:
		l.Number = 1
	case feature.LabelFirst:
		l.Drawn = v
	}
	row.close(i)
}

// flush writes the rows, oldest first, whose labels no event can change any
// more: those of before edge (ms), late events aside.
func (b *builder) flush(edge int64) error {
	slack := b.opt.Set.Lateness().Milliseconds()
	for b.head < len(b.queue) && b.queue[b.head].ms < edge-slack {
		if err := b.write(b.queue[b.head]); err != nil {
			return err
		}
		b.queue[b.head] = nil
		b.head++
	}
	if b.head > 1024 && b.head > len(b.queue)/2 {
		n := copy(b.queue, b.queue[b.head:])
		clear(b.queue[n:])
		b.queue, b.head = b.queue[:n], 0
	}
	return nil
}

// write hands a row on. A label is known where the file goes on for long
// enough, whether or not an event settled it before: else the rows near the
// end would be known only where the player stayed.
func (b *builder) write(p *pending) error {
	for i := range p.row.Labels {
		p.row.Labels[i].Known = p.ms+b.ahead[i] <= b.latest
	}
	if err := b.sink.Write(&p.row); err != nil {
		return err
	}
	if p.open > 0 {
		b.players.written(p.player, p)
	}
	b.spare = append(b.spare, p)
	return nil
}

func (b *builder) finish() error {
	for ; b.head < len(b.queue); b.head++ {
		if err := b.write(b.queue[b.head]); err != nil {
			return err
		}
	}
	return nil
}
