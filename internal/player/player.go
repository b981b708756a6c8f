// Package player keeps each player's state in Redis. One Lua script changes it under an
// optimistic lock. An event has exactly one effect, however often and to whichever instance
// it is delivered, and players need not be placed on instances.
//
// The state is opaque here: a [Codec] reads and writes it, and an [Op] folds an event into
// it. docs/state.md has the design and the measurements.
package player

import (
	"cmp"
	"encoding/hex"
	"errors"
	"time"

	"pitboss/internal/redisdb"
)

// Version identifies one commit of a player's state. It is a 4-byte count of commits and 4
// random bytes, so that it never repeats, even if a failover loses commits or the player is
// erased and comes back. The zero Version means that there is no such player. In Redis, a
// count of 0 marks an erased player.
type Version [8]byte

// String returns the version as 16 hex digits.
func (v Version) String() string { return hex.EncodeToString(v[:]) }

// ReminderChange sets, moves or cancels the player's reminder called Name. A zero Old means
// that it was not set, a zero New that it is cancelled.
type ReminderChange struct {
	Name     string
	Old, New time.Time
}

// Effects are the effects of folding one event besides the changed state.
type Effects struct {
	// Due is remembered with the event's id. Non-zero means that a decision was due; its
	// further meaning is up to the caller.
	Due       uint8
	Reminders []ReminderChange
}

// Codec turns a state into bytes and back. Reuse decodes a state; empty input is a new
// player. The state must not keep a reference to b. old, which may be nil, is a state that
// is no longer used, so that its memory can be reused.
type Codec[S any] interface {
	Reuse(old *S, b []byte) (*S, error)
	Append(dst []byte, s *S) ([]byte, error)
}

// Op folds one event into a player's state.
type Op[S any] struct {
	// Key identifies the event in the duplicate memory: event.Record.Key().
	Key uint64
	// At is the event's time in Unix ms. Events that are committed together are folded in
	// this order, because folding in order is cheaper.
	At int64
	// Fold changes s. A Store never calls it concurrently for one player, but may call it
	// again on fresh state after a conflict. If dup is true, the event was applied before:
	// Fold must not change s and only build the reply; due is the Effects.Due of that time.
	// An error leaves the stored state unchanged, and Update returns it as it is. Fold must
	// not keep references into s, whose memory is reused for other players.
	Fold func(s *S, dup bool, due uint8) (Effects, error)
	// Keep folds the event even if the player was erased after At.
	Keep bool
}

// Result is the result of an Update.
type Result struct {
	Version   Version // of the state that contains the event
	Duplicate bool    // the event was applied before
	Due       uint8   // Effects.Due of when it was applied
	Erased    bool    // the event is from before the player's erasure and had no effect
}

// Config configures a [Store]. Zero fields mean the defaults.
type Config struct {
	// RememberIDs is how many of a player's event ids the duplicate memory
	// holds at most (default 1024, at most 65535); each takes 12 bytes.
	RememberIDs int
	// RememberFor is how long an id is remembered at most (default 24 h).
	RememberFor time.Duration
	// ErasedFor is how long after an erasure the player's earlier events have no effect
	// (default 48 h: longer than RememberFor and than our Broker keeps a dead letter).
	ErasedFor time.Duration
	// CachePlayers is how many decoded states an instance keeps (default
	// 16384; negative: none).
	CachePlayers int
	// Batch is the most events of one player that are committed together (default 128).
	Batch int
	// WaitReplicas makes every commit wait until that many replicas have it (Redis WAIT);
	// default 0. WaitTimeout bounds the wait (default 1 s).
	WaitReplicas int
	WaitTimeout  time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// The errors of this package. All are worth a retry.
var (
	// ErrConflict means that another writer was faster; from Update, at every attempt.
	ErrConflict = errors.New("player: state kept changing")
	// ErrNotReplicated means that the commit is on the primary, but fewer than
	// Config.WaitReplicas replicas confirmed it in time. A retry is a duplicate and waits
	// for the replicas again.
	ErrNotReplicated = redisdb.ErrNotReplicated
	// ErrLayout means that a newer release wrote the value in a layout that is unknown here.
	ErrLayout = errors.New("player: value layout of a newer release")
	// ErrCorrupt means that the value in Redis is not a player's.
	ErrCorrupt = errors.New("player: corrupt value")
)

func (c Config) withDefaults() Config {
	c.RememberIDs = min(cmp.Or(c.RememberIDs, 1024), maxIDs)
	c.CachePlayers = cmp.Or(c.CachePlayers, 16384)
	c.Batch = max(1, min(cmp.Or(c.Batch, 128), c.RememberIDs))
	c.RememberFor = cmp.Or(c.RememberFor, 24*time.Hour)
	c.ErasedFor = cmp.Or(c.ErasedFor, 48*time.Hour)
	c.WaitTimeout = cmp.Or(c.WaitTimeout, time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
