package redisdb

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Client is a connection to one server, Sentinel or Cluster alike. [Open] returns one.
//
// It is redis.UniversalClient without the methods that mention the library's own clients: each
// package that reads such a type compiles 7 MB of its methods again.
type Client interface {
	redis.Cmdable
	AddHook(hook redis.Hook)
	Do(ctx context.Context, args ...any) *redis.Cmd
	Process(ctx context.Context, cmd Cmder) error
	Close() error
}

// The types of commands and replies.
type (
	Cmder              = redis.Cmder
	Pipeliner          = redis.Pipeliner
	IntCmd             = redis.IntCmd
	StringCmd          = redis.StringCmd
	StringSliceCmd     = redis.StringSliceCmd
	MapStringStringCmd = redis.MapStringStringCmd
	ZSliceCmd          = redis.ZSliceCmd
	XMessage           = redis.XMessage
	XMessageSliceCmd   = redis.XMessageSliceCmd
)

// Nil is the error of a command about a key that does not exist.
const Nil = redis.Nil
