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
// Triggers' retries last, and reports whether the console has it once it is back.
// So that nobody waits seven minutes, the dispatchers of profile's Trigger retry
// once here. The dead letters' own Trigger is as it is deployed.
func (c *cluster) outlive(ctx context.Context, l *load) (kept bool, err error) {
	rdb, err := setup.Redis(ctx, c.redis.URL())
	if err != nil {
		return false, err
	}
	defer rdb.Close()
	for _, name := range []string{"profile", "console"} {
		c.pods[name].stop()
	}
	for _, name := range []string{"pitboss-profile-dispatcher", "pitboss-profile-dlx-dispatcher"} {
		if err := c.again(name, "RETRY=1", "BACKOFF_DELAY=100ms"); err != nil {
			return false, err
		}
	}
	before, err := deadLetters(ctx, rdb)
	if err != nil {
		return false, err
	}
	if err := l.playOne(ctx, 0); err != nil {
		return false, err
	}
	if err := c.quiet(ctx, ".pitboss-profile."); err != nil {
		return false, err
	}
	for _, name := range []string{"profile", "console"} {
		if err := c.again(name); err != nil {
			return false, err
		}
	}
	err = until(ctx, time.Minute, 200*time.Millisecond, func() error {
		after, err := deadLetters(ctx, rdb)
		if err == nil && after == before {
			err = errMissing
		}
		return err
	})
	if errors.Is(err, errMissing) {
		return false, nil
	}
	return err == nil, err
}

var errMissing = errors.New("the dead letter is not in the console")

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
