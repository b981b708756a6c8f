package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/redis/go-redis/v9"
	"knative.dev/func-go/cloudevents"
)

// acknowledge only acknowledges events, which leaves the cost of HTTP and of sdk-go's
// receiver.
type acknowledge struct{}

// Handle acknowledges.
func (*acknowledge) Handle(context.Context, ce.Event) (*ce.Event, error) { return nil, nil }

// acknowledgeMain serves acknowledge through func-go's CloudEvents middleware. sdk-go's
// receiver hangs within seconds under load (see functions/handler.go); contexts that never
// end keep it working for the comparison.
func acknowledgeMain() error {
	svc := cloudevents.New(&acknowledge{})
	next := svc.Handler
	svc.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
	})
	return svc.Start(context.Background())
}

// compareAndSet is the least that a state store must do: check the version and write 1 KB.
const compareAndSet = `
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return redis.call('GET', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2])
return 1`

// evalshaMain runs compare-and-set scripts over 1 KB, one at a time on each connection, and
// prints how many it ran.
func evalshaMain(args []string) error {
	f := flag.NewFlagSet("evalsha", flag.ExitOnError)
	addr := f.String("addr", "", "host:port")
	callers := f.Int("callers", 64, "concurrent callers")
	duration := f.Duration("duration", 10*time.Second, "how long")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx := context.Background()
	rdb := redis.NewClient(&redis.Options{Addr: *addr, PoolSize: *callers})
	defer rdb.Close()
	sha, err := rdb.ScriptLoad(ctx, compareAndSet).Result()
	if err != nil {
		return fmt.Errorf("load script: %w", err)
	}
	const players = 10_000
	value := make([]byte, 1024)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	for i := range players {
		if err := rdb.Set(ctx, fmt.Sprint("p", i), value, 0).Err(); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("wait for the start: %w", err)
	}
	var wg sync.WaitGroup
	var done, failed atomic.Int64
	begin := time.Now()
	for range *callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Since(begin) < *duration {
				key := fmt.Sprint("p", rand.N(players))
				if err := rdb.EvalSha(ctx, sha, []string{key}, value[:8], value).Err(); err != nil {
					failed.Add(1)
				}
				done.Add(1)
			}
		}()
	}
	wg.Wait()
	return json.NewEncoder(os.Stdout).Encode(loadResult{Sent: done.Load(), Errors: failed.Load(), Took: time.Since(begin)})
}
