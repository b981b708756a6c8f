package decide

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
)

// BenchmarkHandle decides about players.scored on a real Redis. cpu-us/op is the
// processor time of this process alone, user and system.
func BenchmarkHandle(b *testing.B) {
	w := newWorld(b, true)
	f := w.function()
	const players = 500
	events := make([]*ce.Event, players)
	for i := range events {
		id := fmt.Sprintf("bench-%d", i)
		w.adult(id, "GB")
		w.rounds(id, 5)
		events[i] = w.scored(id, calm)
	}
	b.ReportAllocs()
	before := cpu(b)
	b.ResetTimer()
	b.SetParallelism(16)
	next := make(chan int, 1)
	next <- 0
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := <-next
			next <- n + 1
			e := *events[n%players]
			e.Context = e.Context.Clone()
			e.SetID(fmt.Sprintf("b%d", n))
			if _, err := f.Handle(context.Background(), e); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
}

func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
