// Package player keeps each player's state in Redis, changed by one Lua
// script under an optimistic lock. It gives an event exactly one effect however
// often it is delivered, to whichever instance, and needs no placement of
// players on instances.
//
// The state itself is opaque here: a [Codec] reads and writes it, an [Op] folds
// an event into it. docs/state.md tells the design and the measured figures.
package player

import (
	"cmp"
	"encoding/hex"
	"errors"
	"time"

	"pitboss/internal/redisdb"
)

// Version identifies one commit of a player's state: a 4-byte count of commits
// and 4 random bytes, so that it never repeats, not even when a failover loses
// commits or the player is erased and comes back. The zero Version means no
// such player. In Redis, a count of 0 is the mark of a player who was erased.
type Version [8]byte

// String is the version as 16 hex digits.
func (v Version) String() string { return hex.EncodeToString(v[:]) }

// ReminderChange sets, moves or cancels the player's reminder called Name.
// Zero Old: it was not set; zero New: it is cancelled.
type ReminderChange struct {
	Name     string
	Old, New time.Time
}

// Effects is what folding one event brought about beside the changed state.
type Effects struct {
	// Due is remembered with the event's id; non-zero means that a decision
	// was due. What else it says is the caller's.
	Due       uint8
	Reminders []ReminderChange
}

// Codec turns a state into bytes and back. Reuse reads one: of no bytes a new
// player's. The state must not keep b. old, which may be nil, is a state that
// is no longer used; its memory may be.
type Codec[S any] interface {
	Reuse(old *S, b []byte) (*S, error)
	Append(dst []byte, s *S) ([]byte, error)
}

// Op is one event on its way into a player's state.
type Op[S any] struct {
	// Key identifies the event in the duplicate memory: event.Record.Key().
	Key uint64
	// At is the event's time, Unix ms. Events that are committed together are
	// folded in this order: what is in order is cheaper to fold.
	At int64
	// Fold changes s. It is never called concurrently for one player by one
	// Store, but may be called again, on fresh state, after a conflict. With
	// dup the event was applied before: Fold must leave s as it is and only
	// build the reply; due is then what Effects.Due was. An error leaves the
	// stored state unchanged and is returned by Update as it is. Nothing of s
	// may be kept: its memory is another player's next.
	Fold func(s *S, dup bool, due uint8) (Effects, error)
	// Keep folds the event even where the player was erased after At.
	Keep bool
}

// Result tells what became of an event.
type Result struct {
	Version   Version // of the state that holds the event
	Duplicate bool    // it was applied before
	Due       uint8   // Effects.Due of the time it was applied
	Erased    bool    // it is from before the player's erasure and had no effect
}

// Config bounds a [Store]. The zero value means the defaults.
type Config struct {
	// RememberIDs is how many of a player's event ids the duplicate memory
	// holds at most (default 1024, at most 65535); each takes 12 bytes.
	RememberIDs int
	// RememberFor is how long an id is remembered at most (default 24 h).
	RememberFor time.Duration
	// ErasedFor is how long after an erasure the player's earlier events are
	// refused (default 48 h: longer than RememberFor, and than a Broker of ours
	// holds a dead letter).
	ErasedFor time.Duration
	// CachePlayers is how many decoded states an instance keeps (default
	// 16384; negative: none).
	CachePlayers int
	// Batch is how many waiting events of one player are committed at once
	// (default 128).
	Batch int
	// WaitReplicas makes every commit wait until so many replicas have it
	// (Redis WAIT); default 0. WaitTimeout bounds the wait (default 1 s).
	WaitReplicas int
	WaitTimeout  time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Errors of this package; all are worth a retry.
var (
	// ErrConflict: another writer was first, in Update every time.
	ErrConflict = errors.New("player: state kept changing")
	// ErrNotReplicated: the commit is on the primary, but fewer replicas than
	// Config.WaitReplicas confirmed it in time. A retry is a duplicate, and
	// waits for the replicas again.
	ErrNotReplicated = redisdb.ErrNotReplicated
	// ErrLayout: a newer release wrote the value in a way this one can't read.
	ErrLayout = errors.New("player: value layout of a newer release")
	// ErrCorrupt: the value in Redis is not a player's.
	ErrCorrupt = errors.New("player: corrupt value")
)

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.RememberIDs, 1024)
	def(&c.CachePlayers, 16384)
	def(&c.Batch, 128)
	c.RememberIDs = min(c.RememberIDs, maxIDs)
	c.Batch = max(1, min(c.Batch, c.RememberIDs))
	c.RememberFor = cmp.Or(c.RememberFor, 24*time.Hour)
	c.ErasedFor = cmp.Or(c.ErasedFor, 48*time.Hour)
	c.WaitTimeout = cmp.Or(c.WaitTimeout, time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
