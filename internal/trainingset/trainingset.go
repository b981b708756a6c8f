// Package trainingset folds a file of events exactly as serving does. For each decision
// point it writes the features right after the event (point-in-time) and what happened next
// (labels).
//
// Memory is bounded by the number of players (about 500 bytes of stored state each, and at
// most 16 KB of event keys), by the events of one label horizon, and by a block of events.
// It does not depend on the length of the file.
package trainingset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// Points selects the events that are decision points.
type Points string

// The choices of decision points.
const (
	Rounds    Points = "rounds"     // every settled round
	ScoreWhen Points = "score_when" // the events that serving would score
	All       Points = "all"        // every applied event
)

// Options of a run.
type Options struct {
	Set    *feature.Set
	Labels []*feature.Label
	Points Points
	// Games adds the player's recent games, event.Facts.RecentGames, to each row.
	Games bool
	// Block is how many events are folded together; 0 means 4096. It only affects speed and
	// memory.
	Block int
}

// Totals counts the events and rows of a run.
type Totals struct {
	Events     int64
	Duplicates int64 // without effect
	Ignored    int64 // of types that serving does not fold
	Late       int64 // kept out of the features
	Unknown    int64 // rollbacks of unknown rounds, without effect
	Rows       int64
	Players    int64
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

// LabelValue is a label's value. Known is false if the file ends too early to tell.
type LabelValue struct {
	feature.Drawn
	Known bool
}

// Sink receives finished rows in the order of their events. The row and its slices are
// reused after the call.
type Sink interface {
	Write(*Row) error
}

// Run reads events until next returns io.EOF and writes a row per decision point.
func Run(ctx context.Context, opt Options, next func() (*event.Record, error), sink Sink) (Totals, error) {
	b, err := newBuilder(opt, sink)
	if err != nil {
		return Totals{}, err
	}
	for last := false; !last; {
		if ctx.Err() != nil {
			return b.totals, ctx.Err()
		}
		if last, err = b.read(next); err != nil {
			return b.totals, err
		}
		if err := b.fold(); err != nil {
			return b.totals, err
		}
	}
	return b.totals, b.finish()
}

// builder folds one block of events after another, and within a block player by player. So a
// player's state is decoded once a block and stays in the processor's cache meanwhile. A
// player's rows depend neither on other players' events nor on where blocks end.
type builder struct {
	opt    Options
	sink   Sink
	totals Totals

	players *players
	ahead   []int64 // ms per label
	longest int64
	slack   int64 // ms: how late an event may be

	block []place
	first map[string]int32 // by player: the index of its first event in the block
	order []int32          // the players' first events, in order of arrival

	queue  []*pending // from head on: rows with open labels, oldest first
	head   int
	spare  []*pending
	latest int64 // ms: the latest event time read
}

// place is an event in the block.
type place struct {
	event *event.Record
	row   *pending // its row if it is a decision point, or nil
	edge  int64    // ms: rows before it are written once the event is folded
	next  int32    // the player's next event, or 0
	last  int32    // the player's last event; set at its first one
}

// pending is a row that waits for its labels.
type pending struct {
	row    Row
	player *player
	ms     int64
	open   int    // labels that events can still change
	done   []bool // by label
}

func newBuilder(opt Options, sink Sink) (*builder, error) {
	opt.Block = cmp.Or(opt.Block, 4096)
	switch opt.Points {
	case Rounds, ScoreWhen, All:
	default:
		return nil, fmt.Errorf("training set: points are %q: want rounds, score_when or all", opt.Points)
	}
	b := &builder{opt: opt, sink: sink, first: map[string]int32{}, slack: opt.Set.Lateness().Milliseconds(),
		players: &players{set: opt.Set, byID: map[string]*player{}}}
	for _, l := range opt.Labels {
		ms := l.Ahead().Milliseconds()
		b.ahead = append(b.ahead, ms)
		b.longest = max(b.longest, ms)
	}
	return b, nil
}

// read fills the block. last is true at the end of the events.
func (b *builder) read(next func() (*event.Record, error)) (last bool, err error) {
	clear(b.block)
	clear(b.first)
	b.block, b.order = b.block[:0], b.order[:0]
	for len(b.block) < b.opt.Block {
		r, err := next()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		b.latest = max(b.latest, r.Time.UnixMilli())
		n := int32(len(b.block))
		b.block = append(b.block, place{event: r, edge: b.latest - b.longest - b.slack, last: n})
		if first, known := b.first[r.Subject]; known {
			b.block[b.block[first].last].next = n
			b.block[first].last = n
		} else {
			b.first[r.Subject] = n
			b.order = append(b.order, n)
		}
	}
	return false, nil
}

// fold folds the block and writes the rows that are settled after it.
func (b *builder) fold() error {
	for _, first := range b.order {
		t, err := b.players.begin(b.block[first].event.Subject)
		if err != nil {
			return fmt.Errorf("training set: player of event %s: %w", b.block[first].event.ID, err)
		}
		for n := first; ; n = b.block[n].next {
			if err := b.add(t, &b.block[n]); err != nil {
				return fmt.Errorf("training set: event %s: %w", b.block[n].event.ID, err)
			}
			if b.block[n].next == 0 {
				break
			}
		}
		if err := b.players.end(t); err != nil {
			return fmt.Errorf("training set: %w", err)
		}
	}
	for i := range b.block {
		if row := b.block[i].row; row != nil {
			b.queue = append(b.queue, row)
		}
	}
	b.totals.Events += int64(len(b.block))
	b.totals.Players = int64(len(b.players.byID))
	if len(b.block) == 0 {
		return nil
	}
	return b.flush(b.block[len(b.block)-1].edge)
}

// add settles the labels of earlier rows by an event, folds it, and opens a row if it is a
// decision point.
func (b *builder) add(t turn, at *place) error {
	r := at.event
	switch {
	case !feature.Folds(r):
		b.totals.Ignored++
		return nil
	case t.duplicate(r.Key()):
		b.totals.Duplicates++
		return nil
	}
	b.settle(t.player, r, at.edge)
	out, err := b.opt.Set.Fold(t.state, r)
	if err != nil {
		return err
	}
	if out.Late {
		b.totals.Late++
		return nil
	}
	if out.Unknown {
		b.totals.Unknown++
	}
	if b.isPoint(r, out.Due) {
		at.row = b.open(t, r, &out)
	}
	return nil
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

func (b *builder) open(t turn, r *event.Record, out *feature.Outcome) *pending {
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
		vector = b.opt.Set.Vector(vector, t.state, t.state.AsOf())
	}
	clear(row.done)
	clear(row.row.Labels)
	row.player, row.ms, row.open = t.player, r.Time.UnixMilli(), len(b.ahead)
	games := row.row.Games[:0]
	if b.opt.Games {
		games = t.state.RecentGames(games)
	}
	row.row = Row{Player: t.hash, Time: r.Time, ID: r.ID, Type: r.Type, Due: out.Due, Games: games, Vector: vector, Labels: row.row.Labels}
	for i, l := range b.opt.Labels {
		if l.Agg == feature.LabelNone {
			row.row.Labels[i].Number = 1
		}
	}
	if row.open > 0 {
		t.waiting = append(t.waiting, row)
	}
	b.totals.Rows++
	return row
}

// settle applies an event to the labels of the player's waiting rows from edge on. Rows
// before edge would have been written already if every event were a block of its own.
func (b *builder) settle(p *player, r *event.Record, edge int64) {
	if len(p.waiting) == 0 {
		return
	}
	ms := r.Time.UnixMilli()
	for i, l := range b.opt.Labels {
		v, ok := l.Draw(r)
		for _, row := range p.waiting {
			if row.done[i] || ms < row.ms || row.ms < edge {
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

// take counts an event for label i. The first one settles most kinds of labels.
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

// flush writes the rows whose labels can no longer change, those before edge (ms), oldest
// first.
func (b *builder) flush(edge int64) error {
	for b.head < len(b.queue) && b.queue[b.head].ms < edge {
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

// write passes a row to the sink. A label is known only if the file goes on for its whole
// horizon, even if an event settled it before. Otherwise, near the end of the file, only the
// labels of players who stayed would be known.
func (b *builder) write(p *pending) error {
	for i := range p.row.Labels {
		p.row.Labels[i].Known = p.ms+b.ahead[i] <= b.latest
	}
	if err := b.sink.Write(&p.row); err != nil {
		return err
	}
	if p.open > 0 {
		p.player.forget(p)
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
