package main

import (
	"context"
	"errors"
	"time"

	"pitboss/internal/journal"
	"pitboss/internal/redisdb"
	"pitboss/internal/setup"
)

// outlive makes a dead letter while the console is down for longer than the
// Triggers' retries last, and returns how many the console has once it is back: 1,
// or 0 after a minute. So that nobody waits seven minutes, the dispatchers of profile's
// Trigger retry once here. The dead letters' own Trigger is as it is deployed.
func (c *cluster) outlive(ctx context.Context, l *load) (kept int64, err error) {
	rdb, err := setup.Redis(ctx, c.redis.URL())
	if err != nil {
		return 0, err
	}
	defer rdb.Close()
	for _, name := range []string{"profile", "console"} {
		c.pods[name].stop()
	}
	for _, name := range []string{"pitboss-profile-dispatcher", "pitboss-profile-dlx-dispatcher"} {
		if err := c.again(name, "RETRY=1", "BACKOFF_DELAY=100ms"); err != nil {
			return 0, err
		}
	}
	before, err := deadLetters(ctx, rdb)
	if err != nil {
		return 0, err
	}
	if err := l.playOne(ctx, 0); err != nil {
		return 0, err
	}
	if err := c.quiet(ctx, ".pitboss-profile."); err != nil {
		return 0, err
	}
	for _, name := range []string{"profile", "console"} {
		if err := c.again(name); err != nil {
			return 0, err
		}
	}
	_ = until(ctx, time.Minute, 200*time.Millisecond, func() error {
		after, err := deadLetters(ctx, rdb)
		if err == nil && after == before {
			err = errors.New("the dead letter is not in the console yet")
		}
		return err
	})
	after, err := deadLetters(ctx, rdb)
	return after - before, err
}

// deadLetters is how many the console keeps.
func deadLetters(ctx context.Context, rdb redisdb.Client) (int64, error) {
	return rdb.HLen(ctx, journal.DeadLettersKey).Result()
}

// again starts a pod anew, with more in its environment.
func (c *cluster) again(name string, env ...string) error {
	p := c.pods[name]
	p.stop()
	return c.pod(name, p.bin, append(p.env, env...))
}
