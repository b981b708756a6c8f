package player

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// What the decision journal needs, which keeps its keys in the player's slot.

// Script is another package's Lua script.
type Script struct{ s *script }

// NewScript prepares a script from its source.
func NewScript(src string) *Script { return &Script{newScript(src)} }

// Runner runs scripts through the same gathering of concurrent commands into
// pipelines as a [Store]. It is safe for concurrent use.
type Runner struct{ l *link }

// NewRunner returns a Runner on rdb.
func NewRunner(rdb redis.UniversalClient) *Runner { return &Runner{&link{rdb: rdb}} }

// Wait makes every script wait until so many replicas have what it wrote, or
// fail with [ErrNotReplicated] after timeout; as [Config.WaitReplicas]. To be
// called before the first Run.
func (r *Runner) Wait(replicas int, timeout time.Duration) {
	r.l.replicas, r.l.timeout = replicas, timeout
}

// Run evaluates the script; all keys are in one slot.
func (r *Runner) Run(ctx context.Context, s *Script, keys []string, args ...any) (any, error) {
	return s.s.eval(ctx, r.l, append(s.s.args(keys...), args...))
}

// Get reads a key, in the same pipelines; nil where there is none.
func (r *Runner) Get(ctx context.Context, key string) ([]byte, error) {
	return read(ctx, r.l, key)
}

// ParseValue takes the value of a player's key ([StateKey]) apart into version
// and state; the zero Version means no such player: no bytes, or just the mark
// of an erasure.
func ParseValue(b []byte) (Version, []byte, error) {
	v, err := parseValue(b)
	if v.nobody() {
		return Version{}, nil, err
	}
	return v.version, v.state, err
}
