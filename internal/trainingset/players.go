package trainingset

import (
	"bytes"
	"slices"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// players holds every player's state as the bytes that serving would store. Only the state
// of the player whose events are being folded is decoded.
type players struct {
	set     *feature.Set
	byID    map[string]*player
	spare   *feature.State // of the player stored last
	scratch []byte
}

type player struct {
	stored  []byte
	seen    []uint64   // keys of the latest events, as serving remembers them
	waiting []*pending // rows with open labels, oldest first
}

// turn is the processing of a player's events in a block.
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

// remembered is how many event keys serving remembers of a player by default
// (PROFILE_REMEMBER_IDS).
const remembered = 1024

// duplicate reports whether the player had the event recently, and remembers it.
func (p *player) duplicate(key uint64) bool {
	if slices.Contains(p.seen[max(0, len(p.seen)-remembered):], key) {
		return true
	}
	if len(p.seen) == 2*remembered { // dropping half at a time moves few keys
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

// forget removes a row, mostly the first, from those that wait for labels.
func (p *player) forget(row *pending) {
	if n := slices.Index(p.waiting, row); n >= 0 {
		p.waiting = slices.Delete(p.waiting, n, n+1)
	}
}
