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

// Store reads and changes players' states of type S. It is safe for concurrent use. Any
// number of Stores, in any number of processes, may work on the same players.
type Store[S any] struct {
	cfg   Config
	codec Codec[S]
	redis redisdb.Sender
	cache cache[S]
	stats stats
}

// NewStore returns a Store on rdb. The caller closes rdb when the Store is no longer used.
func NewStore[S any](rdb redisdb.Client, codec Codec[S], cfg Config) *Store[S] {
	cfg = cfg.withDefaults()
	st := &Store[S]{cfg: cfg, codec: codec}
	st.redis = redisdb.NewRunner(rdb).Wait(cfg.WaitReplicas, cfg.WaitTimeout)
	st.cache.init(cfg.CachePlayers)
	return st
}

// Update folds an event into the player's state exactly once, however often and by
// whichever Store it is called for the event. A nil error means that the effect is in
// Redis. After an error that is not from op.Fold it may or may not be; a retry finds out.
//
// Events of one player that arrive while a commit is in progress are coalesced into the
// next one. ctx ends the wait in the queue, but not a commit: that has the events of other
// callers too, and the client's time-outs bound it.
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
			lead = <-c.wake // it is in a batch already, or leads one
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

// Read returns the player's current state in Redis. If there is no such player, it returns
// a new player's state and the zero Version.
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

// Erase removes the player's state, duplicate memory and reminders if the state still has
// the version was, as [Store.Read] returned it. Otherwise it returns [ErrConflict]: what
// the caller must keep of the state by law must not have changed since it was read. A mark
// with nothing but the time at stays for Config.ErasedFor, so that an event up to at that
// arrives late has no effect. A later event begins a new player.
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

// Erased returns when the player was last erased, or zero if that was not within
// Config.ErasedFor.
func (st *Store[S]) Erased(ctx context.Context, player string) (time.Time, error) {
	return Erased(ctx, st.redis, player)
}

// Erased is [Store.Erased] for callers without a Store.
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
