package redisdb

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// Observe has took called after each round trip (a pipeline is one) of c, and
// with the error if it failed. An absent key, a script that Redis does not have
// yet and a greeting (CLIENT SETINFO) that it is too old for are answers.
func Observe(c Client, took func(time.Duration, error)) {
	h := observer{took}
	if cluster, ok := c.(*redis.ClusterClient); ok { // it asks through its nodes
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(h) })
		return
	}
	c.AddHook(h)
}

// LogTo has the client, which has one logger in a process, write to printf.
func LogTo(printf func(format string, v ...any)) { redis.SetLogger(logger(printf)) }

type logger func(format string, v ...any)

// Printf is what go-redis calls.
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

// failure is err where it is one.
func failure(err error) error {
	if err == nil || errors.Is(err, Nil) || redis.HasErrorPrefix(err, "NOSCRIPT") || redis.HasErrorPrefix(err, "ERR unknown subcommand") {
		return nil
	}
	return err
}
