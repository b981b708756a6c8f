package player

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/internal/redisdb"
	"pitboss/test/redistest"
)

// blob is a state of 1 KB.
type blob struct{ b [1024]byte }

type blobCodec struct{}

func (blobCodec) Reuse(_ *blob, b []byte) (*blob, error) {
	s := new(blob)
	copy(s.b[:], b)
	return s, nil
}
func (blobCodec) Append(dst []byte, s *blob) ([]byte, error) {
	return append(dst, s.b[:]...), nil
}

// through sends each command by itself, or through an AutoPipeliner.
type through struct {
	processor interface {
		Process(ctx context.Context, cmd redis.Cmder) error
	}
}

func (t through) Send(ctx context.Context, _ string, cmd redis.Cmder, _ bool) error {
	return t.processor.Process(ctx, cmd)
}

// BenchmarkUpdate compares the ways commands reach Redis: 64 callers, 10,000
// players of 1 KB.
func BenchmarkUpdate(b *testing.B) {
	modes := map[string]func(redis.UniversalClient) redisdb.Sender{
		"plain": func(rdb redis.UniversalClient) redisdb.Sender { return through{rdb} },
		"auto": func(rdb redis.UniversalClient) redisdb.Sender {
			ap, err := rdb.(*redis.Client).AutoPipelineWithOptions(&redis.AutoPipelineOptions{
				MaxBatchSize: 200, MaxConcurrentBatches: 4, Unordered: true})
			if err != nil {
				b.Fatal(err)
			}
			return through{ap}
		},
		"pipelines": func(rdb redis.UniversalClient) redisdb.Sender { return redisdb.NewRunner(rdb) },
	}
	for _, callers := range []int{1, 8, 64} {
		for name, mode := range modes {
			b.Run(fmt.Sprintf("%s/%d", name, callers), func(b *testing.B) { benchUpdate(b, mode, callers) })
		}
	}
}

func benchUpdate(b *testing.B, via func(redis.UniversalClient) redisdb.Sender, callers int) {
	const players = 10_000
	srv := redistest.New(b)
	rdb := connect(b, srv.URL())
	st := NewStore(rdb, blobCodec{}, Config{RememberIDs: 32})
	st.redis = via(rdb)
	names := make([]string, players)
	for i := range names {
		names[i] = fmt.Sprint("player-", i)
	}
	var left atomic.Int64
	work := func(n int) {
		left.Store(int64(n))
		var wg sync.WaitGroup
		for range callers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for left.Add(-1) >= 0 {
					_, err := st.Update(context.Background(), names[rand.N(players)], Op[blob]{Key: rand.Uint64(),
						Fold: func(s *blob, _ bool, _ uint8) (Effects, error) { s.b[rand.N(1024)]++; return Effects{}, nil }})
					if err != nil {
						b.Error(err)
					}
				}
			}()
		}
		wg.Wait()
	}
	work(2 * players)
	cpu := cpuTime()
	redisCPU, _ := srv.CPU()
	b.ResetTimer()
	b.ReportAllocs()
	work(b.N)
	redisAfter, _ := srv.CPU()
	b.ReportMetric(float64((redisAfter-redisCPU).Nanoseconds())/float64(b.N), "redis-cpu-ns/op")
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "go-cpu-ns/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTakeNothing is a timer's tick when nothing is due: all 4096 shards
// are asked.
func BenchmarkTakeNothing(b *testing.B) {
	srv := redistest.New(b)
	r := NewReminders(connect(b, srv.URL()))
	before, _ := srv.CPU()
	b.ResetTimer()
	for range b.N {
		if _, err := r.Take(context.Background(), time.Now(), time.Second, 100); err != nil {
			b.Fatal(err)
		}
	}
	after, _ := srv.CPU()
	b.ReportMetric(float64((after-before).Nanoseconds())/float64(b.N), "redis-cpu-ns/op")
}

// BenchmarkHeavyPlayer is one player whose duplicate memory is full.
func BenchmarkHeavyPlayer(b *testing.B) {
	srv := redistest.New(b)
	st := NewStore(connect(b, srv.URL()), blobCodec{}, Config{})
	update := func() {
		_, err := st.Update(context.Background(), "p", Op[blob]{Key: rand.Uint64(),
			Fold: func(s *blob, _ bool, _ uint8) (Effects, error) { s.b[0]++; return Effects{}, nil }})
		if err != nil {
			b.Fatal(err)
		}
	}
	for range 1024 {
		update()
	}
	before, _ := srv.CPU()
	b.ResetTimer()
	for range b.N {
		update()
	}
	after, _ := srv.CPU()
	b.ReportMetric(float64((after-before).Nanoseconds())/float64(b.N), "redis-cpu-ns/op")
}
