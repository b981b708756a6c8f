package setup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

var (
	redisSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pitboss_redis_seconds", Help: "Round trips to Redis, seconds; a pipeline is one.",
		Buckets: []float64{5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, .25, 1, 5},
	}, []string{"function"})
	redisErrors = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "pitboss_redis_errors_total", Help: "Round trips that failed.",
	}, []string{"function"})
)

// roundTrips times what a function asks of Redis.
type roundTrips struct {
	seconds prometheus.Observer
	errors  prometheus.Counter
}

// watchRoundTrips makes the client's round trips metrics of function fn.
func watchRoundTrips(c Client, fn string) {
	h := roundTrips{redisSeconds.WithLabelValues(fn), redisErrors.WithLabelValues(fn)}
	if cluster, ok := c.(*redis.ClusterClient); ok { // it asks through its nodes
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(h) })
		return
	}
	c.AddHook(h)
}

// DialHook implements [redis.Hook].
func (h roundTrips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements [redis.Hook].
func (h roundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmd)
		h.took(began, err)
		return err
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (h roundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmds)
		h.took(began, err)
		return err
	}
}

// took counts an error where it is one: an absent key, a script that Redis does
// not have yet and a greeting (CLIENT SETINFO) that it is too old for are answers.
func (h roundTrips) took(began time.Time, err error) {
	h.seconds.Observe(time.Since(began).Seconds())
	if err == nil || errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "NOSCRIPT") || redis.HasErrorPrefix(err, "ERR unknown subcommand") {
		return
	}
	h.errors.Inc()
}

// redisLog has go-redis, which has one logger in a process, write JSON as
// everything else does.
type redisLog struct{ *zap.Logger }

// Printf is what go-redis calls.
func (l redisLog) Printf(_ context.Context, format string, v ...any) {
	l.Warn("redis client", zap.String("error", fmt.Sprintf(format, v...)))
}

var logRedis = sync.OnceFunc(func() { redis.SetLogger(redisLog{Logger("redis")}) })
