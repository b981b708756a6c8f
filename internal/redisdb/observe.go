package redisdb

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// Observe makes c call took after each round trip (a pipeline is one), with the error if it
// failed. An absent key, a script that Redis does not have yet, and an unsupported greeting
// (CLIENT SETINFO) are not failures.
func Observe(c Client, took func(time.Duration, error)) {
	h := observer{took}
	if cluster, ok := c.(*redis.ClusterClient); ok { // its nodes make the round trips
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(h) })
		return
	}
	c.AddHook(h)
}

// LogTo makes the client library log to printf. It has one logger per process.
func LogTo(printf func(format string, v ...any)) { redis.SetLogger(logger(printf)) }

type logger func(format string, v ...any)

// Printf implements the logger of go-redis.
func (l logger) Printf(_ context.Context, format string, v ...any) { l(format, v...) }

type observer struct{ took func(time.Duration, error) }

// DialHook implements [redis.Hook].
func (o observer) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements [redis.Hook].
func (o observer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmd)
		o.took(time.Since(began), failure(err))
		return err
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (o observer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmds)
		o.took(time.Since(began), failure(err))
		return err
	}
}

// failure returns err if it is a failure, else nil.
func failure(err error) error {
	if err == nil || errors.Is(err, Nil) || redis.HasErrorPrefix(err, "NOSCRIPT") || redis.HasErrorPrefix(err, "ERR unknown subcommand") {
		return nil
	}
	return err
}
