package redisdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// keeps is the only maxmemory-policy under which Redis drops nothing: at its limit it refuses
// writes, and the event is retried.
const keeps = "noeviction"

// Evicts returns a maxmemory-policy under which a primary of c may drop keys when its memory is
// full, and with them a player's exclusion, or "" if no primary has one. If CONFIG is forbidden,
// as with managed Redis, it asks INFO. known is false if neither has the policy.
func Evicts(ctx context.Context, c Client) (policy string, known bool, err error) {
	var mu sync.Mutex // the primaries of a cluster are asked concurrently
	known = true
	ask := func(ctx context.Context, one redis.Cmdable) error {
		p, err := policyOf(ctx, one)
		mu.Lock()
		defer mu.Unlock()
		if p == "" {
			known = false
		} else if p != keeps {
			policy = p
		}
		return err
	}
	if cluster, ok := c.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, one *redis.Client) error { return ask(ctx, one) })
	} else { // with Sentinel, the client asks the primary
		err = ask(ctx, c)
	}
	if err != nil {
		return "", false, fmt.Errorf("maxmemory-policy: %w", err)
	}
	return policy, known, nil
}

func policyOf(ctx context.Context, c redis.Cmdable) (string, error) {
	var reply redis.Error
	conf, err := c.ConfigGet(ctx, "maxmemory-policy").Result()
	if err == nil || !errors.As(err, &reply) {
		return conf["maxmemory-policy"], err
	}
	info, err := c.Info(ctx, "memory").Result()
	if err != nil {
		if errors.As(err, &reply) { // Redis answers, but INFO is forbidden too
			err = nil
		}
		return "", err
	}
	for line := range strings.Lines(info) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok {
			return p, nil
		}
	}
	return "", nil
}
