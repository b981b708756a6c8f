package timer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/errgroup"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/learn"
	"pitboss/internal/player"
	"pitboss/internal/policy"
	"pitboss/internal/setup"
)

var labelsSettled = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "pitboss_labels_total", Help: "Decisions whose label timer looked for, by result: settled; missed, when it looked too late; unknown, when the player is gone or played too fast.",
}, []string{"label", "result"})

// labelsAtOnce bounds how many decisions one entry of the journal settles.
const labelsAtOnce = 1000

// labels settles the labels of labels.yaml some minutes after each decision, journals
// them, and calibrates the scores that predicted them. It reads the decisions from the
// journal and the labels from the players' states, so it adds no work to the path of
// events.
//
// The journal is the truth, and the sums that calibrations are made of follow from it.
// A decision counts once: when the first entry that settles it is read. So it does not
// matter when an instance dies, or whether two work at once.
type labels struct {
	leased
	journal *journal.Journal
	players *player.Store[feature.State]

	byScore map[string]*feature.Label
	from    time.Duration // how long after a decision it can be settled
	until   time.Duration // how long after a decision it can still be settled

	read    [player.Shards]uint64 // by shard: how far the journal was read
	waiting map[int][]waiting     // by shard, in order
	state   labelState
	said    map[string]said // by decision, while it is being settled
}

// waiting is a decision whose labels are not settled yet.
type waiting struct {
	seq uint64
	at  int64 // Unix time in milliseconds
}

// said is what the models said at a decision, and as of when.
type said struct {
	at   time.Time
	runs []event.ModelRun
}

// labelState is what is stored in Redis.
type labelState struct {
	Upto        uint64                      `json:"upto"`   // the last entry of the journal of labels that is in the sums
	Cursor      map[int]uint64              `json:"cursor"` // by shard: the last decision that is settled or never will be
	Calibrators map[string]*modelCalibrator `json:"calibrators"`
}

// modelCalibrator is the calibrator of one model.
type modelCalibrator struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Output  string `json:"output"`
	*learn.Calibrator
}

// newLabels returns nil if no label in labels.yaml has a score that predicts it.
func (f *Function) newLabels(rdb setup.Client) (*labels, error) {
	declared, err := feature.LoadLabels(filepath.Join(f.cfg.ModelsDir, "labels.yaml"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	set, err := feature.Load(filepath.Join(f.cfg.ModelsDir, "features.yaml"))
	if err != nil {
		return nil, err
	}
	l := &labels{journal: f.journal, byScore: map[string]*feature.Label{}, until: 1 << 62}
	l.leased = leased{f: f, name: "labels", every: f.cfg.LabelsEvery, begin: l.begin, step: l.look, leave: tellNoCalibration,
		failed: "labels of decisions are not settled"}
	for _, d := range declared {
		if d.Score == "" {
			continue
		}
		from, until, err := set.Settles(d)
		if err != nil {
			return nil, err
		}
		if l.byScore[d.Score] != nil {
			return nil, fmt.Errorf("timer: labels.yaml: two labels have the score %s", d.Score)
		}
		l.byScore[d.Score] = d
		l.from, l.until = max(l.from, from), min(l.until, until)
		for _, result := range []string{"settled", "missed", "unknown"} {
			labelsSettled.WithLabelValues(d.Name, result).Add(0)
		}
	}
	if len(l.byScore) == 0 {
		return nil, nil
	}
	if l.from >= l.until {
		return nil, fmt.Errorf("timer: labels.yaml: the labels with scores look too differently far ahead to be settled together")
	}
	tellNoCalibration()
	l.players = player.NewStore(rdb, set, player.Config{CachePlayers: 1})
	return l, nil
}

// look reads the new decisions and settles those that are due.
func (l *labels) look(ctx context.Context) error {
	_, err := l.journal.Since(ctx, &l.read, func(e *journal.Entry) error {
		if e.Kind == journal.KindDecision {
			l.waiting[e.Shard] = append(l.waiting[e.Shard], waiting{e.Seq, e.Time.UnixMilli()})
		}
		return nil
	})
	if err != nil {
		return err
	}
	due := l.due(l.f.now())
	for some := range slices.Chunk(due, labelsAtOnce) {
		if err := l.settle(ctx, some); err != nil {
			return err
		}
	}
	if len(due) == 0 {
		return nil
	}
	for _, p := range due {
		l.state.Cursor[p.Shard] = max(l.state.Cursor[p.Shard], p.Seq)
	}
	return l.keep(ctx)
}

// begin continues where the instance before has ended. The very first instance begins
// with the decisions made from now on.
func (l *labels) begin(ctx context.Context) error {
	raw, err := l.journal.Calibrators(ctx)
	if err != nil {
		return err
	}
	l.state = labelState{Cursor: map[int]uint64{}, Calibrators: map[string]*modelCalibrator{}}
	l.waiting, l.said = map[int][]waiting{}, map[string]said{}
	if raw != nil {
		if err := json.Unmarshal(raw, &l.state); err != nil {
			return fmt.Errorf("timer: labels: %w", err)
		}
	} else {
		heads, err := l.journal.Heads(ctx)
		if err != nil {
			return err
		}
		for shard, seq := range heads {
			if seq > 0 {
				l.state.Cursor[shard] = seq
			}
		}
	}
	if err := l.catchUp(ctx); err != nil {
		return err
	}
	l.read = [player.Shards]uint64{}
	for shard, seq := range l.state.Cursor {
		l.read[shard] = seq
	}
	return l.keep(ctx)
}

// due takes the decisions whose labels can be settled out of those that wait.
func (l *labels) due(now time.Time) (out []journal.Place) {
	for shard, list := range l.waiting {
		n := 0
		for n < len(list) && now.UnixMilli()-list[n].at >= l.from.Milliseconds() {
			out = append(out, journal.Place{Shard: shard, Seq: list[n].seq})
			n++
		}
		if n == len(list) {
			delete(l.waiting, shard)
			continue
		}
		l.waiting[shard] = list[n:]
	}
	slices.SortFunc(out, func(a, b journal.Place) int { return cmp.Or(cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Seq, b.Seq)) })
	return out
}

// settle journals the labels of some decisions, and counts them.
func (l *labels) settle(ctx context.Context, places []journal.Place) error {
	entries, err := l.journal.Places(ctx, places)
	if err != nil {
		return err
	}
	records, came, err := l.labelAll(ctx, entries)
	if err != nil {
		return err
	}
	s := &journal.Settled{At: l.f.now().UTC().Truncate(time.Millisecond)}
	for i, values := range came {
		if values == nil {
			continue
		}
		in := &records[i].Input
		s.Rows = append(s.Rows, journal.Came{Decision: in.Decision, Seq: entries[i].Seq, Labels: values})
		l.said[in.Decision] = said{in.AsOf, in.Models}
	}
	if len(s.Rows) == 0 {
		return nil
	}
	if err := l.journal.KeepLabels(ctx, s); err != nil {
		return err
	}
	err = l.catchUp(ctx)
	clear(l.said)
	return err
}

// labelAll reads the decisions and returns the labels of each. They are nil for a
// decision that was written out of Redis, or whose player was erased.
func (l *labels) labelAll(ctx context.Context, entries []*journal.Entry) (records []*policy.Record, came []map[string]float64, err error) {
	records, came = make([]*policy.Record, len(entries)), make([]map[string]float64, len(entries))
	for i, e := range entries {
		if e == nil || e.Personal == nil {
			continue
		}
		if records[i], err = policy.Join(e.Open, e.Personal); err != nil {
			return nil, nil, err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, r := range records {
		if r != nil {
			g.Go(func() (err error) { came[i], err = l.labelOne(ctx, r); return err })
		}
	}
	return records, came, g.Wait()
}

// labelOne finds the labels of a decision in the player's state.
func (l *labels) labelOne(ctx context.Context, r *policy.Record) (out map[string]float64, err error) {
	var state *feature.State
	var version player.Version
	for score, label := range l.byScore {
		if !slices.ContainsFunc(r.Input.Models, func(m event.ModelRun) bool { return m.Output == score && m.Outside == "" }) {
			continue
		}
		// A platform's clock may be ahead of decide's. So a label may be read within the
		// minute in which late rounds still come in, but not before its time is over.
		now, point := l.f.now(), r.Input.AsOf
		if age := now.Sub(point); age < label.Ahead() || age > l.until {
			labelsSettled.WithLabelValues(label.Name, "missed").Inc()
			continue
		}
		if state == nil {
			if state, version, err = l.players.Read(ctx, r.Input.Player); err != nil {
				return nil, err
			}
		}
		v, known := state.Settle(label, point)
		if version == (player.Version{}) || !known {
			labelsSettled.WithLabelValues(label.Name, "unknown").Inc()
			continue
		}
		labelsSettled.WithLabelValues(label.Name, "settled").Inc()
		if out == nil {
			out = map[string]float64{}
		}
		out[label.Name] = v
	}
	return out, nil
}
