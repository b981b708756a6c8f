// Package redisdb contains everything that depends on the Redis client library: it opens a
// client from a URL, coalesces concurrent commands into pipelines, runs scripts and routes
// commands in a cluster. Other packages use the library only through the names here, so that a
// change of the library touches only this package. The packages that own keys define them.
package redisdb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Open connects to the Redis at rawURL and pings it. The scheme of the URL determines the kind
// of deployment:
//
//	redis://[user:password@]host:6379/0       one server (rediss:// with TLS)
//	redis+sentinel://host:26379,host:26379/mymaster
//	redis+cluster://host:7000,host:7001       (rediss+cluster:// with TLS)
//
// Options go in the query, e.g. ?read_timeout=1s&pool_size=20.
func Open(ctx context.Context, rawURL string) (Client, error) {
	opt, err := redisOptions(rawURL)
	if err != nil {
		return nil, err
	}
	client := redis.NewUniversalClient(opt)
	if err := client.Ping(ctx).Err(); err != nil {
		// The client is returned nevertheless: it reconnects by itself, and Ready reports the
		// error until it has.
		return client, fmt.Errorf("redis at %s: %w", redact(rawURL), err)
	}
	return client, nil
}

func redisOptions(rawURL string) (*redis.UniversalOptions, error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	base, mode, _ := strings.Cut(scheme, "+")
	if !ok || (base != "redis" && base != "rediss") || (mode != "" && mode != "cluster" && mode != "sentinel") {
		return nil, fmt.Errorf("REDIS_URL %s: want redis://, rediss://, redis+cluster:// or redis+sentinel://", redact(rawURL))
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 && strings.Contains(rest[i:], "@") {
		return nil, fmt.Errorf("REDIS_URL %s: %w", redact(rawURL), errNotEncoded)
	}
	hosts, tail := splitHosts(rest)
	addrs := strings.Split(hosts, ",")
	first := base + "://" + userinfo(rest) + addrs[0]
	if mode == "sentinel" {
		first += query(tail)
	} else {
		first += tail
	}
	one, err := redis.ParseURL(first)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL %s: %w", redact(rawURL), quiet(err))
	}
	opt := &redis.UniversalOptions{
		Addrs: addrs, Username: one.Username, Password: one.Password, DB: one.DB, TLSConfig: one.TLSConfig,
		IsClusterMode: mode == "cluster", PoolSize: one.PoolSize, MinIdleConns: one.MinIdleConns,
		DialTimeout: orDefault(one.DialTimeout, 2*time.Second), ReadTimeout: orDefault(one.ReadTimeout, 2*time.Second),
		WriteTimeout: orDefault(one.WriteTimeout, 2*time.Second),
		// Pitboss's scripts are safe to repeat, because they check for duplicates, but the
		// Broker should retry, which counts its attempts.
		MaxRetries: 1,
	}
	if mode == "sentinel" {
		opt.MasterName = strings.Trim(strings.SplitN(tail, "?", 2)[0], "/")
		if opt.MasterName == "" {
			return nil, fmt.Errorf("REDIS_URL %s: redis+sentinel:// needs /mastername", redact(rawURL))
		}
	}
	return opt, nil
}

func userinfo(rest string) string {
	hosts := strings.SplitN(rest, "/", 2)[0]
	if i := strings.LastIndex(hosts, "@"); i >= 0 {
		return hosts[:i+1]
	}
	return ""
}

// splitHosts splits "user:pw@h1,h2/0?x=y" into "h1,h2" and "/0?x=y".
func splitHosts(rest string) (hosts, tail string) {
	hosts = strings.TrimPrefix(rest, userinfo(rest))
	if i := strings.IndexAny(hosts, "/?"); i >= 0 {
		return hosts[:i], hosts[i:]
	}
	return hosts, ""
}

func query(tail string) string {
	if i := strings.Index(tail, "?"); i >= 0 {
		return tail[i:]
	}
	return ""
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

var errNotEncoded = errors.New("percent-encode the user and the password")

// redact removes the credentials of a URL, so that it may appear in an error or a log. It
// removes everything up to the last @, because a password that is not percent-encoded may be in
// any part of the URL.
func redact(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if at := strings.LastIndex(rest, "@"); ok && at >= 0 {
		return scheme + "://***" + rest[at:]
	}
	return raw
}

// quiet replaces net/url's errors, which quote the URL.
func quiet(err error) error {
	var bad *url.Error
	if errors.As(err, &bad) {
		return fmt.Errorf("it cannot be read as a URL: %w", errNotEncoded)
	}
	return err
}
