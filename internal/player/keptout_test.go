package player

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/test/redistest"
)

func TestWhatIsKeptOutIsCountedByProducer(t *testing.T) {
	t.Parallel()
	opt, err := redis.ParseURL(redistest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	rdb, ctx := redis.NewClient(opt), context.Background()
	defer rdb.Close()
	now := time.Date(2026, 3, 1, 23, 59, 0, 0, time.UTC)
	instances := []*KeptOutLog{NewKeptOutLog(rdb, func() time.Time { return now }), NewKeptOutLog(rdb, func() time.Time { return now })}
	for i := range 30 {
		instances[i%2].Note("late", "/a b")
		if i%3 == 0 {
			instances[i%2].Note("unknown_round", "/c")
		}
	}
	flush := func() {
		t.Helper()
		for _, l := range instances {
			if err := l.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	flush()
	now = now.Add(2 * time.Minute)
	instances[0].Note("late", "/a b")
	flush()
	got, err := ReadKeptOut(ctx, rdb, now, 3)
	want := []KeptOut{{"2026-03-02", "late", "/a b", 1}, {"2026-03-01", "late", "/a b", 30}, {"2026-03-01", "unknown_round", "/c", 10}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%v, %v; want %v", got, err, want)
	}
	// However many producers there are, the hash is bounded and no event is left out.
	for i := range 1000 {
		instances[i%2].Note("late", fmt.Sprint("/producer-", i))
	}
	flush()
	got, err = ReadKeptOut(ctx, rdb, now, 1)
	var sum int64
	for _, k := range got {
		sum += k.Events
	}
	if err != nil || sum != 1001 || len(got) > keptOutFields+1 {
		t.Fatalf("%d events of %d producers, %v; want 1001 of at most %d", sum, len(got), err, keptOutFields+1)
	}
	if ttl := rdb.TTL(ctx, keptOutKey(now)).Val(); ttl <= 0 || ttl > keptOutFor {
		t.Errorf("kept for %s", ttl)
	}
	down := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer down.Close()
	l := NewKeptOutLog(down, func() time.Time { return now })
	l.Note("late", "/d")
	if err := l.Flush(ctx); err == nil {
		t.Fatal("flushed to nowhere")
	}
	if l.counts["late /d"] != 1 {
		t.Error("what could not be flushed is lost")
	}
}
