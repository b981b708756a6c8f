package console

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"pitboss/internal/redisdb"
)

// While Redis is down the console tries to count the dead letters again and again,
// and logs that once.
func TestARedisThatIsDownIsLoggedOnce(t *testing.T) {
	t.Parallel()
	down, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = down.Close() })
	tried := make(chan struct{})
	go func() {
		for {
			conn, err := down.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			select {
			case tried <- struct{}{}:
			case <-t.Context().Done():
				return
			}
		}
	}()
	// Open pings, so it makes attempts of its own.
	opened := make(chan redisdb.Client)
	go func() {
		rdb, _ := redisdb.Open(t.Context(), "redis://"+down.Addr().String()+"?max_retries=-1&dial_timeout=5s")
		opened <- rdb
	}()
	var rdb redisdb.Client
	for rdb == nil {
		select {
		case rdb = <-opened:
		case <-tried:
		}
	}
	t.Cleanup(func() { _ = rdb.Close() })

	core, lines := observer.New(zap.DebugLevel)
	ctx, stop := context.WithCancel(t.Context())
	l := newDeadLetters(newBrokerClient(""), &store{rdb: rdb})
	stopped := make(chan struct{})
	go func() {
		l.watch(ctx, time.Millisecond, time.Now, zap.New(core))
		close(stopped)
	}()
	for range 10 {
		<-tried
	}
	stop()
	for waiting := true; waiting; {
		select {
		case <-stopped:
			waiting = false
		case <-tried:
		}
	}
	if all := lines.All(); len(all) != 1 || all[0].Level != zap.WarnLevel {
		t.Errorf("%d lines, want one warning: %v", len(all), all)
	}
}
