package trainingset

import (
	"bytes"
	"slices"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// players holds every player's state as the bytes that serving would store.
// One at a time is decoded: the one whose part of a block is folded.
type players struct {
	set     *feature.Set
	byID    map[string]*player
	spare   *feature.State // of the player stored last
	scratch []byte
}

type player struct {
	stored  []byte
	seen    []uint64   // keys of the latest events, as serving remembers them
	waiting []*pending // rows whose labels are open, oldest first
}

// turn is a player's part of a block.
type turn struct {
	*player
	hash  string
	state *feature.State
}

// begin decodes the state of the player with this id.
func (ps *players) begin(id string) (t turn, err error) {
	t = turn{player: ps.byID[id], hash: event.HashPlayer(id)}
	if t.player == nil {
		t.player = &player{}
		ps.byID[id] = t.player
	}
	t.state, err = ps.set.Reuse(ps.spare, t.stored)
	ps.spare = nil
	return t, err
}

// remembered is how many event keys serving remembers of a player unless it is
// told otherwise (PROFILE_REMEMBER_IDS).
const remembered = 1024

// duplicate reports whether the player had the event of late, and remembers it.
func (p *player) duplicate(key uint64) bool {
	if slices.Contains(p.seen[max(0, len(p.seen)-remembered):], key) {
		return true
	}
	if len(p.seen) == 2*remembered { // forget half, so that little is moved
		p.seen = append(p.seen[:0], p.seen[remembered:]...)
	}
	p.seen = append(p.seen, key)
	return false
}

// end stores the player's state.
func (ps *players) end(t turn) (err error) {
	if ps.scratch, err = ps.set.Append(ps.scratch[:0], t.state); err != nil {
		return err
	}
	if len(ps.scratch) <= cap(t.stored) {
		t.stored = append(t.stored[:0], ps.scratch...)
	} else {
		t.stored = bytes.Clone(ps.scratch)
	}
	ps.spare = t.state
	return nil
}

// forget takes a row, mostly the first, out of those that wait for labels.
func (p *player) forget(row *pending) {
	if n := slices.Index(p.waiting, row); n >= 0 {
		p.waiting = slices.Delete(p.waiting, n, n+1)
	}
}
