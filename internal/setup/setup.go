// Package setup turns a process's environment into what its function needs:
// configuration, a logger and a Redis client. It is read once, at Start.
package setup

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sethvargo/go-envconfig"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Load fills the tagged struct into from cfg, the map that func-go hands to
// Start (the environment and the image's cfg file).
func Load(cfg map[string]string, into any) error {
	err := envconfig.ProcessWith(context.Background(), &envconfig.Config{
		Target: into, Lookuper: envconfig.MapLookuper(cfg),
	})
	if err != nil {
		return fmt.Errorf("setup: configuration: %w", err)
	}
	return nil
}

// Logger returns a JSON logger to standard error, named after the function,
// at LOG_LEVEL (default info).
func Logger(name string) *zap.Logger {
	level, err := zapcore.ParseLevel(os.Getenv("LOG_LEVEL"))
	if err != nil {
		level = zapcore.InfoLevel
	}
	conf := zap.NewProductionConfig()
	conf.Level = zap.NewAtomicLevelAt(level)
	conf.DisableStacktrace = true
	conf.DisableCaller = true
	conf.EncoderConfig.TimeKey = "time"
	conf.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	log, err := conf.Build()
	if err != nil { // only a broken sink could cause it
		return zap.NewNop()
	}
	return log.Named(name)
}

// Client is a connection to one server, Sentinel or Cluster alike.
type Client = redis.UniversalClient

// Redis connects to the Redis that rawURL names and pings it. One URL tells
// the deployment apart:
//
//	redis://[user:password@]host:6379/0       one server (rediss:// with TLS)
//	redis+sentinel://host:26379,host:26379/mymaster
//	redis+cluster://host:7000,host:7001       (rediss+cluster:// with TLS)
//
// Options go in the query, e.g. ?read_timeout=1s&pool_size=20.
func Redis(ctx context.Context, rawURL string) (Client, error) {
	logRedis()
	opt, err := redisOptions(rawURL)
	if err != nil {
		return nil, err
	}
	client := redis.NewUniversalClient(opt)
	if err := client.Ping(ctx).Err(); err != nil {
		// The client is returned all the same: it reconnects by itself, and
		// Ready keeps reporting until it has.
		return client, fmt.Errorf("setup: redis at %s: %w", redact(rawURL), err)
	}
	return client, nil
}

func redisOptions(rawURL string) (*redis.UniversalOptions, error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	base, mode, _ := strings.Cut(scheme, "+")
	if !ok || (base != "redis" && base != "rediss") || (mode != "" && mode != "cluster" && mode != "sentinel") {
		return nil, fmt.Errorf("setup: REDIS_URL %s: want redis://, rediss://, redis+cluster:// or redis+sentinel://", redact(rawURL))
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
		return nil, fmt.Errorf("setup: REDIS_URL %s: %w", redact(rawURL), err)
	}
	opt := &redis.UniversalOptions{
		Addrs: addrs, Username: one.Username, Password: one.Password, DB: one.DB, TLSConfig: one.TLSConfig,
		IsClusterMode: mode == "cluster", PoolSize: one.PoolSize, MinIdleConns: one.MinIdleConns,
		DialTimeout: orDefault(one.DialTimeout, 2*time.Second), ReadTimeout: orDefault(one.ReadTimeout, 2*time.Second),
		WriteTimeout: orDefault(one.WriteTimeout, 2*time.Second),
		// Pitboss's scripts are safe to repeat (the duplicate check is in
		// them), but the Broker's retry is the one that is counted.
		MaxRetries: 1,
	}
	if mode == "sentinel" {
		opt.MasterName = strings.Trim(strings.SplitN(tail, "?", 2)[0], "/")
		if opt.MasterName == "" {
			return nil, fmt.Errorf("setup: REDIS_URL %s: redis+sentinel:// needs /mastername", redact(rawURL))
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

// splitHosts parts "user:pw@h1,h2/0?x=y" into "h1,h2" and "/0?x=y".
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

// redact removes credentials, so that a URL may appear in an error or a log.
func redact(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Redacted()
	}
	if u := userinfo(strings.SplitN(raw+"://", "://", 3)[1]); u != "" {
		return strings.Replace(raw, u, "***@", 1)
	}
	return raw
}
