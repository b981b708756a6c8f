package setup

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"pitboss/internal/redisdb"
	"pitboss/internal/repeat"
)

// allowEviction is the setting that allows a Redis that may evict keys.
const allowEviction = "REDIS_ALLOW_EVICTION"

// memoryCheck is how often the maxmemory-policy is checked again: somebody may change it
// while Pitboss runs, and after a failover another server's applies.
const memoryCheck = time.Minute

var redisEvicts = promauto.NewGaugeVec(prometheus.GaugeOpts{
	Name: "pitboss_redis_evicts", Help: "1 while the maxmemory-policy of a primary lets it drop keys, 0 while none does.",
}, []string{"function"})

// checkMemory refuses a Redis that evicts keys when its memory is full, unless that is
// allowed, and keeps checking.
func (g *Edge) checkMemory(ctx context.Context, rdb Client, reached bool) error {
	told := ""
	if reached {
		policy, err := g.lookAtMemory(ctx, rdb)
		if err != nil {
			g.Log.Warn("redis", zap.Error(err))
		}
		if policy != "" && !g.mayEvict {
			return fmt.Errorf("%s: redis: maxmemory-policy is %s: when its memory is full, Redis would forget players and their exclusions; "+
				"set it to noeviction (or %s=true, to take the risk)", g.name, policy, allowEviction)
		}
		told = policy
	}
	g.Go(func(ctx context.Context) {
		for range repeat.After(ctx, memoryCheck) {
			// Ready reports a Redis that does not answer.
			if policy, err := g.lookAtMemory(ctx, rdb); err == nil && policy != told {
				told = policy
				g.Log.Error("redis: maxmemory-policy changed", zap.String("policy", policy), zap.Bool("evicts", policy != ""))
			}
		}
	})
	return nil
}

func (g *Edge) lookAtMemory(ctx context.Context, rdb Client) (policy string, err error) {
	policy, known, err := redisdb.Evicts(ctx, rdb)
	if err != nil {
		return "", err
	}
	evicts := 0.0
	if policy != "" {
		evicts = 1
	}
	redisEvicts.WithLabelValues(g.name).Set(evicts)
	if !known {
		g.Log.Debug("redis: neither CONFIG nor INFO has the maxmemory-policy")
	}
	return policy, nil
}
