package setup

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"pitboss/internal/redisdb"
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

// watchRoundTrips exports the client's round trips as metrics of the function fn.
func watchRoundTrips(c Client, fn string) {
	seconds, errors := redisSeconds.WithLabelValues(fn), redisErrors.WithLabelValues(fn)
	redisdb.Observe(c, func(took time.Duration, err error) {
		seconds.Observe(took.Seconds())
		if err != nil {
			errors.Inc()
		}
	})
}

// logRedis makes the Redis client log JSON like everything else.
var logRedis = sync.OnceFunc(func() {
	log := Logger("redis")
	redisdb.LogTo(func(format string, v ...any) {
		log.Warn("redis client", zap.String("error", fmt.Sprintf(format, v...)))
	})
})
