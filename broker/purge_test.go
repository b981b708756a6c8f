package broker

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"pitboss/test/cputime"
)

// BenchmarkPurge is one purge of the log that removes a hundred finished events.
// Appends wait for it. cpu-us/op is processor time, user and system.
func BenchmarkPurge(b *testing.B) {
	l, err := openLog(Config{DataDir: b.TempDir(), Logger: zap.NewNop(), MaxStore: 1 << 30, MaxBody: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(l.shutdown)
	record := make([]byte, 1000)
	var used time.Duration
	for b.Loop() {
		b.StopTimer()
		for range 100 {
			l.append(record, func(r *origin, err error) {
				if err != nil {
					b.Fatal(err)
				}
				l.end(r)
			})
		}
		before := cputime.Own(b)
		b.StartTimer()
		l.release(slowAfter)
		b.StopTimer()
		used += cputime.Own(b) - before
		b.StartTimer()
	}
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-us/op")
}
