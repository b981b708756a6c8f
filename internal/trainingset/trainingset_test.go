package trainingset_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"
	"github.com/parquet-go/parquet-go"

	"pitboss/functions/profile"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/simulator"
	"pitboss/internal/trainingset"
	"pitboss/test/redistest"
	"pitboss/test/shipped"
)

const models = "../../models"

var start = time.Date(2026, 1, 5, 18, 0, 0, 0, time.UTC)

func labels(t testing.TB, text string) []*feature.Label {
	t.Helper()
	l, err := feature.ParseLabels("labels.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

const gone = `
version: 1
labels:
  - {name: gone, on: [round.settled], agg: none, within: 10m}
  - {name: more, on: [round.settled], agg: count, within: 10m}
  - {name: back, on: [payment.deposited], agg: any, within: 1h}
  - {name: spent, on: [round.settled], agg: sum, value: data.stake, where: data.win == 0, within: 10m}
  - {name: next, on: [round.settled], agg: first, value: data.game, within: 10m}
`

// rows is a sink that keeps copies.
type rows []trainingset.Row

func (rs *rows) Write(r *trainingset.Row) error {
	c := *r
	c.Games = append([]string{}, r.Games...)
	c.Vector = append([]float64{}, r.Vector...)
	c.Labels = append([]trainingset.LabelValue{}, r.Labels...)
	*rs = append(*rs, c)
	return nil
}

func each(events []*event.Record) func() (*event.Record, error) {
	i := 0
	return func() (*event.Record, error) {
		if i == len(events) {
			return nil, io.EOF
		}
		i++
		return events[i-1], nil
	}
}

func run(t testing.TB, opt trainingset.Options, events []*event.Record) (out rows, totals trainingset.Totals) {
	t.Helper()
	totals, err := trainingset.Run(context.Background(), opt, each(events), &out)
	if err != nil {
		t.Fatal(err)
	}
	return out, totals
}

func settled(id, player string, at time.Duration, game string, stake, win int64) *event.Record {
	info, _ := event.Lookup(event.TypeRoundSettled)
	return &event.Record{ID: id, Source: "/p", Type: event.TypeRoundSettled, Subject: player, Time: start.Add(at), Info: info,
		Data: &event.RoundSettled{Game: game, Product: "casino", Stake: stake, Win: win, Currency: "EUR"}}
}

func TestLabelsLookAheadOnly(t *testing.T) {
	t.Parallel()
	info, _ := event.Lookup(event.TypePaymentDeposited)
	events := []*event.Record{
		settled("1", "a", 0, "x", 10, 0),
		settled("2", "b", time.Minute, "x", 10, 0),
		settled("3", "a", 5*time.Minute, "y", 20, 0),
		settled("4", "a", 15*time.Minute, "z", 40, 50), // exactly 10 min after 3
		{ID: "5", Source: "/p", Type: event.TypePaymentDeposited, Subject: "b", Time: start.Add(40 * time.Minute), Info: info, Data: &event.Payment{Amount: 5, Currency: "EUR"}},
		settled("6", "c", 70*time.Minute, "x", 10, 0),
	}
	got, totals := run(t, trainingset.Options{Set: shipped.Features(t), Labels: labels(t, gone), Points: trainingset.Rounds}, events)
	want := map[string]string{ // gone more back spent next; ? is not known
		"1": "0 1 0 20 y",
		"2": "1 0 1 0 ",
		"3": "0 1 0 0 z",
		"4": "1 0 ? 0 ", // the file ends before the hour is over
		"6": "? ? ? ? ?",
	}
	if totals.Rows != 5 || totals.Events != 6 || totals.Players != 3 {
		t.Errorf("totals %+v", totals)
	}
	for i, r := range got {
		text := ""
		for n, l := range r.Labels {
			switch {
			case !l.Known:
				text += "? "
			case n == 4:
				text += l.Text + " "
			default:
				text += fmt.Sprint(l.Number, " ")
			}
		}
		if text = text[:len(text)-1]; text != want[r.ID] {
			t.Errorf("row %s has labels %q, want %q", r.ID, text, want[r.ID])
		}
		if i > 0 && r.Time.Before(got[i-1].Time) {
			t.Errorf("row %s comes after a later one", r.ID)
		}
	}
}

// simulated returns n events of many players, as CloudEvents and records.
func simulated(t testing.TB, n int) (sent []*ce.Event, records []*event.Record) {
	t.Helper()
	w := simulator.New(simulator.Config{Seed: 7, Players: 40, Start: start})
	for len(sent) < n {
		e := w.Next()
		r, err := event.Parse(e, start.AddDate(1, 0, 0))
		if err != nil {
			t.Fatal(err)
		}
		sent, records = append(sent, e), append(records, r)
	}
	return sent, records
}

// The promise of the training set: each vector is, bit for bit, the one that
// serving sent for the same event.
func TestServingSendsTheVectorsOfTheTrainingSet(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	sent, records := simulated(t, 6000)
	table, _ := run(t, trainingset.Options{Set: shipped.Features(t), Points: trainingset.ScoreWhen, Block: 8, Games: true}, records)
	trained := map[string]trainingset.Row{}
	for _, r := range table {
		trained[r.ID] = r
	}

	f := profile.New()
	ctx := context.Background()
	// A cache of one player: nearly every event reads its state from Redis.
	if err := f.Start(ctx, map[string]string{"REDIS_URL": url, "MODELS_DIR": models, "PROFILE_CACHE_PLAYERS": "1"}); err != nil {
		t.Fatal(err)
	}
	defer f.Stop(ctx)
	names, served := shipped.Features(t).Names(), 0
	games := 0
	for _, e := range sent {
		reply, err := f.Handle(ctx, *e)
		if err != nil {
			t.Fatalf("%s: %v", e.Type(), err)
		}
		if reply == nil {
			if _, ok := trained[e.ID()]; ok {
				t.Fatalf("%s %s is in the training set, serving asked for no decision", e.Type(), e.ID())
			}
			continue
		}
		served++
		row, ok := trained[e.ID()]
		if !ok {
			t.Fatalf("%s %s was served and is not in the training set", e.Type(), e.ID())
		}
		u, err := event.Decode[event.PlayerUpdated](reply)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]float64
		if err := json.Unmarshal(u.Features, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(u.Due, row.Due) {
			t.Errorf("%s: due %v served, %v trained", e.ID(), u.Due, row.Due)
		}
		if !slices.Equal(u.Facts.RecentGames, row.Games) {
			t.Errorf("%s: recent games %v served, %v trained", e.ID(), u.Facts.RecentGames, row.Games)
		}
		games = max(games, len(row.Games))
		for i, name := range names {
			if math.Float64bits(got[name]) != math.Float64bits(row.Vector[i]) {
				t.Errorf("%s of %s: %v served, %v trained", name, e.ID(), got[name], row.Vector[i])
			}
		}
	}
	if games < 3 {
		t.Errorf("at most %d recent games: not put to the test", games)
	}
	if served < 100 || served != len(table) {
		t.Errorf("%d decisions served, %d rows trained: want the same, and at least 100", served, len(table))
	}
}

// However few events are folded together, the rows are the same.
func TestBlocksDoNotChangeTheRows(t *testing.T) {
	t.Parallel()
	_, records := simulated(t, 4000)
	opt := trainingset.Options{Set: shipped.Features(t), Labels: labels(t, gone), Points: trainingset.All}
	want, _ := run(t, opt, records)
	for _, opt.Block = range []int{1, 7, 1000} {
		got, _ := run(t, opt, records)
		if len(got) != len(want) {
			t.Fatalf("blocks of %d: %d rows, want %d", opt.Block, len(got), len(want))
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("blocks of %d: row %d:\n%+v\nwant\n%+v", opt.Block, i, got[i], want[i])
			}
		}
	}
}

func TestFilesHoldTheRowsToTheBit(t *testing.T) {
	t.Parallel()
	_, records := simulated(t, 5000)
	set, ls := shipped.Features(t), labels(t, gone)
	opt := trainingset.Options{Set: set, Labels: ls, Points: trainingset.All, Games: true}
	want, _ := run(t, opt, records)
	var pq, text bytes.Buffer
	p, err := trainingset.NewParquet(&pq, opt)
	if err != nil {
		t.Fatal(err)
	}
	c, err := trainingset.NewCSV(&text, opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if err := p.Write(&want[i]); err != nil {
			t.Fatal(err)
		}
		if err := c.Write(&want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	checkParquet(t, pq.Bytes(), set, want)
	checkCSV(t, &text, set, want)
}

func checkParquet(t *testing.T, b []byte, set *feature.Set, want rows) {
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if hash, _ := f.Lookup("pitboss.feature_set"); hash != set.Hash() {
		t.Errorf("feature set %q, want %q", hash, set.Hash())
	}
	at := map[string]int{}
	for i, path := range f.Schema().Columns() {
		at[path[0]] = i
	}
	r := parquet.NewReader(f)
	defer r.Close()
	for i, w := range want {
		buf := make([]parquet.Row, 1)
		if n, err := r.ReadRows(buf); n != 1 {
			t.Fatalf("row %d: %v", i, err)
		}
		row := buf[0]
		for k, name := range set.Names() {
			if x := row[at[name]].Double(); math.Float64bits(x) != math.Float64bits(w.Vector[k]) {
				t.Fatalf("row %d: %s is %v, want %v", i, name, x, w.Vector[k])
			}
		}
		if got := row[at["player"]].String(); got != w.Player || row[at["event_id"]].String() != w.ID {
			t.Fatalf("row %d is of %v, want %s", i, got, w.Player)
		}
		if v, got := row[at["recent_games"]], []string{}; json.Unmarshal(v.ByteArray(), &got) != nil || !slices.Equal(got, w.Games) {
			t.Fatalf("row %d: recent games are %v, want %v", i, v, w.Games)
		}
		if v := row[at["gone"]]; v.IsNull() == w.Labels[0].Known || !v.IsNull() && v.Double() != w.Labels[0].Number {
			t.Fatalf("row %d: gone is %v, want %+v", i, v, w.Labels[0])
		}
		if v := row[at["next"]]; v.IsNull() == (w.Labels[4].Known && w.Labels[4].Text != "") || !v.IsNull() && v.String() != w.Labels[4].Text {
			t.Fatalf("row %d: next is %v, want %+v", i, v, w.Labels[4])
		}
	}
	if n := f.NumRows(); n != int64(len(want)) {
		t.Errorf("%d rows, want %d", n, len(want))
	}
}

func checkCSV(t *testing.T, in io.Reader, set *feature.Set, want rows) {
	all, err := csv.NewReader(in).ReadAll()
	if err != nil || len(all) != len(want)+1 {
		t.Fatalf("%d lines, want %d (%v)", len(all), len(want)+1, err)
	}
	for i, w := range want {
		for k := range set.Names() {
			x, err := strconv.ParseFloat(all[i+1][5+k], 64)
			if err != nil || math.Float64bits(x) != math.Float64bits(w.Vector[k]) {
				t.Fatalf("line %d: %s is %s, want %v", i+2, all[0][5+k], all[i+1][5+k], w.Vector[k])
			}
		}
	}
}
