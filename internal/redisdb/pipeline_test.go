package redisdb

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/test/redistest"
)

// The caller who carries the others' commands may have given up: theirs go all the same.
func TestOneWhoGaveUpTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	opt, err := redis.ParseURL(redistest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	opt.PoolSize = 1
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { rdb.Close() })
	only := rdb.Conn()
	if err := only.Ping(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	l := newPipelines(rdb, 0, 0)
	var release [pipelinesPerNode]chan struct{} // none is free: commands collect
	for i := range release {
		release[i] = make(chan struct{})
		began := make(chan struct{})
		go l.waiting.Do(nil, func([]*command) { close(began); <-release[i] })
		<-began
	}
	defer close(release[1])
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan error, 2)
	for n, ctx := range []context.Context{gone, context.Background()} {
		go func() { done <- l.do(ctx, redis.NewStatusCmd(ctx, "set", "key", n), true) }()
		waitFor(t, func() bool { return l.waiting.Waiting() == n+1 })
	}
	close(release[0]) // a pipeline ends: the first waiting one carries the next, when there is a connection
	waitFor(t, func() bool { return rdb.PoolStats().PendingRequests == 1 || len(done) > 0 })
	only.Close()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := rdb.Get(context.Background(), "key").Val(); got != "1" {
		t.Errorf("key is %q, want what the other caller set", got)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited for 10 s")
		}
	}
}
