package trainingset_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"pitboss/functions"
	"pitboss/internal/cehttp"
	"pitboss/internal/dataset"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/trainingset"
	"pitboss/test/redistest"
)

// drawRecording draws a player's events as a platform records them: rounds,
// payments and rollbacks in and out of order, some late, some twice, some
// rollbacks with other amounts, and an event that serving does not fold.
func drawRecording(t *rapid.T, player string) (events []*ce.Event) {
	add := func(id, typ string, at time.Time, data any) {
		info, _ := event.Lookup(typ)
		e, err := dataset.CloudEvent(&event.Record{ID: id, Source: "/p", Type: typ, Subject: player, Time: at, Info: info, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	amount := rapid.Int64Range(0, 5000)
	at := start
	for i := range rapid.IntRange(3, 25).Draw(t, "events") {
		id := fmt.Sprint(i)
		at = at.Add(time.Duration(rapid.IntRange(0, 400_000).Draw(t, "ms")) * time.Millisecond)
		when := at.Add(-time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 120, 1500}).Draw(t, "behind")) * time.Second)
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			add(id, event.TypePaymentDeposited, when, &event.Payment{Amount: 1 + amount.Draw(t, "amount"), Currency: "GBP"})
		case 1:
			add(id, event.TypePrivacyExport, when, &event.PrivacyRequest{Request: "r"})
		default:
			d := event.RoundSettled{Game: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "game"), Product: "casino",
				Stake: amount.Draw(t, "stake"), Win: amount.Draw(t, "win"), Currency: "GBP"}
			add(id, event.TypeRoundSettled, when, &d)
			for n := range rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "rollbacks") {
				undo := event.RoundRolledback{Round: id, Settled: when, RoundSettled: d}
				undo.Stake += amount.Draw(t, "other stake")
				add(fmt.Sprint("undo-", n, "-", i), event.TypeRoundRolledback, at.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "undone"))*time.Second), &undo)
			}
		}
	}
	for range rapid.IntRange(0, 6).Draw(t, "again") {
		events = append(events, rapid.SampledFrom(events).Draw(t, "which"))
	}
	return events
}

func loadAlways(t interface{ Fatal(...any) }) *feature.Set {
	s, err := feature.Load(models + "/features.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.ScoreAlways()
	return s
}

// recordAndFold writes the events as a recording and reads it back as training does.
func recordAndFold(t *rapid.T, dir string, events []*ce.Event) map[string]trainingset.Row {
	var text bytes.Buffer
	for _, e := range events {
		line, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(line, '\n'))
	}
	path := filepath.Join(dir, "recording.ndjson")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := dataset.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	set := loadAlways(t)
	var table rows
	totals, err := trainingset.Run(context.Background(), trainingset.Options{Set: set, Points: trainingset.ScoreWhen, Block: 3},
		func() (*event.Record, error) { return file.Next() }, &table)
	if err != nil {
		t.Fatal(err)
	}
	if totals.Events != int64(len(events)) || totals.Rows+totals.Late+totals.Duplicates+totals.Ignored != totals.Events {
		t.Fatalf("%d events in, totals %+v", len(events), totals)
	}
	out := map[string]trainingset.Row{}
	for _, r := range table {
		if _, twice := out[r.ID]; twice {
			t.Fatalf("event %s has two rows", r.ID)
		}
		out[r.ID] = r
	}
	return out
}

// What the training set folds of a recording is, row by row and bit for bit,
// what profile serves when the same events are POSTed to it, with a real Redis.
func TestTheTrainingSetIsWhatServingFolds(t *testing.T) {
	t.Parallel()
	url, dir := redistest.Start(t), t.TempDir()
	f, err := functions.New("profile")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := f.Start(ctx, map[string]string{"REDIS_URL": url, "MODELS_DIR": models, "SCORE_WHEN": "always"}); err != nil {
		t.Fatal(err)
	}
	defer f.Stop(ctx)
	server := httptest.NewServer(http.HandlerFunc(f.Handle))
	defer server.Close()
	names, tries, compared := loadAlways(t).Names(), 0, 0
	rapid.Check(t, func(t *rapid.T) {
		tries++
		events := drawRecording(t, fmt.Sprint("player-", tries))
		trained := recordAndFold(t, dir, events)
		seen := map[string]bool{}
		for _, e := range events {
			u, replied := serve(t, server.URL, e)
			again := seen[e.ID()]
			seen[e.ID()] = true
			row, ok := trained[e.ID()]
			if ok != replied {
				t.Fatalf("%s %s: served %v, trained %v", e.Type(), e.ID(), replied, ok)
			}
			if !replied || again { // a redelivered event is answered from what is current
				continue
			}
			for i, name := range names {
				if math.Float64bits(u[name]) != math.Float64bits(row.Vector[i]) {
					t.Fatalf("%s after %s %s: %v served, %v trained", name, e.Type(), e.ID(), u[name], row.Vector[i])
				}
			}
			compared++
		}
	})
	if compared == 0 {
		t.Error("nothing was compared")
	}
}

// serve POSTs an event to profile and returns the features it answers with.
func serve(t *rapid.T, url string, e *ce.Event) (features map[string]float64, replied bool) {
	req, err := cehttp.NewRequest(context.Background(), url, e)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s", e.Type(), e.ID(), res.Status, body)
	}
	if len(body) == 0 {
		return nil, false
	}
	m, err := cehttp.Read(res.Header, body)
	if err != nil {
		t.Fatal(err)
	}
	var u event.PlayerUpdated
	if err := json.Unmarshal(m.Data, &u); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(u.Features, &features); err != nil {
		t.Fatal(err)
	}
	return features, true
}
