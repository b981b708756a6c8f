package player

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"pitboss/internal/redisdb"
)

//go:embed lua/commit.lua
var commitLua string

//go:embed lua/take.lua
var takeLua string

//go:embed lua/erase.lua
var eraseLua string

//go:embed lua/touch.lua
var touchLua string

var (
	commitScript = redisdb.NewScript(commitLua)
	takeScript   = redisdb.NewScript(takeLua)
	eraseScript  = redisdb.NewScript(eraseLua)
	touchScript  = redisdb.NewScript(touchLua)
)

// Store reads and changes players' states of type S. It is safe for
// concurrent use; any number of Stores, in any number of processes, may work
// on the same players.
type Store[S any] struct {
	cfg   Config
	codec Codec[S]
	redis redisdb.Sender
	cache cache[S]
	stats stats
}

// NewStore returns a Store on rdb, which the caller closes after the Store is
// no longer used.
func NewStore[S any](rdb redisdb.Client, codec Codec[S], cfg Config) *Store[S] {
	cfg = cfg.withDefaults()
	st := &Store[S]{cfg: cfg, codec: codec}
	st.redis = redisdb.NewRunner(rdb).Wait(cfg.WaitReplicas, cfg.WaitTimeout)
	st.cache.init(cfg.CachePlayers)
	return st
}

// Update folds an event into the player's state, exactly once: however often
// it is called for one event, by whichever Store, its effect is there once. A
// nil error means the effect is in Redis. Any other error than one of op.Fold
// leaves it open whether it is; a retry finds out.
//
// Events of one player that wait while a commit is under way are folded
// together and committed at once. ctx ends the wait for a turn, not a commit
// under way: that one has other callers' events in it, too, and is bounded by
// the client's time-outs.
func (st *Store[S]) Update(ctx context.Context, player string, op Op[S]) (Result, error) {
	c := &call[S]{op: op}
	p, lead := st.cache.enter(player, c)
	if !lead {
		select {
		case lead = <-c.wake:
		case <-ctx.Done():
			if st.cache.leave(p, c) {
				return Result{}, fmt.Errorf("player: wait for a turn: %w", ctx.Err())
			}
			lead = <-c.wake // in a batch already, or its leader
		}
	}
	if lead {
		st.lead(context.WithoutCancel(ctx), p, c)
	}
	if c.err != nil {
		return Result{}, c.err
	}
	return c.res, nil
}

// Read returns the player's state as it is in Redis now; for no such player
// the zero Version and a new player's state.
func (st *Store[S]) Read(ctx context.Context, player string) (*S, Version, error) {
	v, err := st.get(ctx, player)
	if err != nil {
		return nil, Version{}, err
	}
	s, err := st.codec.Reuse(nil, v.state)
	if err != nil {
		return nil, Version{}, fmt.Errorf("player: decode: %w", err)
	}
	if v.nobody() {
		return s, Version{}, nil
	}
	return s, v.version, nil
}

// Erase removes the player's state, duplicate memory and reminders, if the state
// is still the one of version was, as [Store.Read] gave it: else [ErrConflict]. What
// the law has the caller keep of the state must not have changed since it was read.
// For Config.ErasedFor a mark stays, which says when that was and nothing else: an
// event from up to at that is still on its way then has no effect. A later
// one begins a new player.
func (st *Store[S]) Erase(ctx context.Context, player string, was Version, at time.Time) error {
	m := mark{at.UnixMilli(), st.cfg.Now().Add(st.cfg.ErasedFor).UnixMilli()}
	args := append(eraseScript.Args(StateKey(player), ReminderKey(Shard(player))),
		player, appendHead(nil, markVersion(), m, nil), st.cfg.ErasedFor.Milliseconds(), was.bytes())
	reply, err := eraseScript.Eval(ctx, st.redis, args)
	if err != nil {
		return fmt.Errorf("player: erase: %w", err)
	}
	if reply != int64(1) {
		return fmt.Errorf("player: erase: %w", ErrConflict)
	}
	return nil
}

// Erased is when the player was erased last; zero: not of late.
func (st *Store[S]) Erased(ctx context.Context, player string) (time.Time, error) {
	return Erased(ctx, st.redis, player)
}

// Erased is [Store.Erased] for who has no Store.
func Erased(ctx context.Context, s redisdb.Sender, player string) (time.Time, error) {
	v, err := get(ctx, s, player)
	return v.erased.time(), err
}

func (st *Store[S]) get(ctx context.Context, player string) (value, error) {
	return get(ctx, st.redis, player)
}

func get(ctx context.Context, s redisdb.Sender, player string) (value, error) {
	b, err := redisdb.Get(ctx, s, StateKey(player))
	if err != nil {
		return value{}, fmt.Errorf("player: read: %w", err)
	}
	return parseValue(b)
}
