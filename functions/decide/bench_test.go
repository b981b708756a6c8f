package decide

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/event"
	"pitboss/test/cputime"
)

// BenchmarkHandle folds a round into a player's state and decides about the
// player, 32 at a time, on a real Redis: over uniformly drawn players, over
// some far more often than others, and over one alone. cpu-us/op is the
// processor time of this process alone, user and system.
func BenchmarkHandle(b *testing.B) {
	const players = 500
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 1)), 1.1, 1, players-1)
	for _, draw := range []struct {
		name   string
		player func(n int) int
	}{
		{"uniform", func(n int) int { return n % players }},
		{"zipf", func(int) int { return int(zipf.Uint64()) }},
		{"hot", func(int) int { return 0 }},
	} {
		b.Run("players="+draw.name, func(b *testing.B) { benchmarkHandle(b, players, draw.player) })
	}
}

func benchmarkHandle(b *testing.B, players int, draw func(n int) int) {
	w := newWorld(b, true)
	f := w.function()
	events := make([]*ce.Event, players)
	for i := range events {
		id := fmt.Sprintf("bench-%d", i)
		w.adult(id, "GB")
		w.rounds(id, 5)
		events[i] = w.scored(id, calm)
	}
	b.ReportAllocs()
	before := cputime.Own(b)
	b.ResetTimer()
	b.SetParallelism(16)
	next := make(chan int, 1)
	next <- 0
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := <-next
			e := *events[draw(n)]
			next <- n + 1
			w.fold(round(e.Subject(), n))
			e.Context = e.Context.Clone()
			e.SetID(fmt.Sprintf("b%d", n))
			for { // as the Broker does
				if _, err := f.Handle(context.Background(), e); err == nil {
					break
				}
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64((cputime.Own(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
	commits, conflicts := f.journal.Stats()
	b.ReportMetric(float64(commits)/float64(b.N), "scripts/op")
	b.ReportMetric(float64(conflicts)/float64(b.N), "conflicts/op")
}

func round(id string, n int) *ce.Event {
	e := ce.New()
	e.SetID(fmt.Sprintf("round%d", n))
	e.SetSource("/platform/bench")
	e.SetType(event.TypeRoundSettled)
	e.SetSubject(id)
	e.SetTime(noon.Add(time.Duration(n) * time.Millisecond))
	e.SetDataContentType(ce.ApplicationJSON)
	e.DataEncoded = []byte(`{"game":"book","product":"casino","stake":100,"win":100,"currency":"EUR"}`)
	return &e
}
