// Package setup provides what a function needs from the environment: configuration, a logger
// and a Redis client. The environment is read once, at Start.
package setup

import (
	"context"
	"fmt"
	"os"

	"github.com/sethvargo/go-envconfig"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"pitboss/internal/redisdb"
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
	if err != nil { // only possible with an invalid sink
		return zap.NewNop()
	}
	return log.Named(name)
}

// Client is a connection to one server, Sentinel or Cluster alike.
type Client = redisdb.Client

// Redis connects to the Redis at a URL: see [redisdb.Open]. The client logs JSON.
func Redis(ctx context.Context, url string) (Client, error) {
	logRedis()
	c, err := redisdb.Open(ctx, url)
	if err != nil {
		err = fmt.Errorf("setup: %w", err)
	}
	return c, err
}
