package player

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"pitboss/internal/redisdb"
)

// Copy is everything that the Store has about a player.
type Copy[S any] struct {
	State   *S
	Version Version // zero: no such player
	// Erased is when the player was erased, if that was within Config.ErasedFor.
	Erased     time.Time
	Bytes      int // in Redis, of state and duplicate memory
	Remembered []Remembered
	Reminders  []Reminder // by due time
}

// Remembered is an event in a player's duplicate memory.
type Remembered struct {
	Key     uint64    // event.Record.Key()
	Arrived time.Time // to the minute
	Due     uint8     // Effects.Due
}

// Export returns everything that the Store has about a player. State and reminders are read
// one after the other, so that a commit in between is only in the reminders.
func (st *Store[S]) Export(ctx context.Context, player string) (*Copy[S], error) {
	v, err := st.get(ctx, player)
	if err != nil {
		return nil, err
	}
	out := &Copy[S]{}
	if out.State, err = st.codec.Reuse(nil, v.state); err != nil {
		return nil, fmt.Errorf("player: decode: %w", err)
	}
	out.Erased = v.erased.time()
	if !v.nobody() {
		out.Version, out.Bytes = v.version, headSize+len(v.ids)+len(v.state)
	}
	for ids := v.ids; len(ids) > 0; ids = ids[idSize:] {
		at := epoch.Add(time.Duration(arrived(ids)) * time.Minute)
		out.Remembered = append(out.Remembered, Remembered{binary.BigEndian.Uint64(ids), at, ids[11]})
	}
	out.Reminders, err = st.reminders(ctx, player)
	return out, err
}

// reminders reads all reminders of the shard: they are a few thousand, and exports are rare.
func (st *Store[S]) reminders(ctx context.Context, player string) (out []Reminder, err error) {
	members, err := redisdb.Members(ctx, st.redis, ReminderKey(Shard(player)))
	if err != nil {
		return nil, fmt.Errorf("player: read reminders: %w", err)
	}
	for _, m := range members {
		if r, ok := parseMember(m); ok && strings.HasSuffix(m, ":"+player) && r.Player == player {
			out = append(out, r)
		}
	}
	return out, nil
}
