package trainingset

import (
	"bytes"
	"slices"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"pitboss/internal/event"
	"pitboss/internal/feature"
)

// players holds every player's state: the most recent ones decoded, the
// others as the bytes that serving would store.
type players struct {
	set     *feature.Set
	stored  map[string][]byte
	waiting map[string][]*pending // of stored players, see player.waiting
	decoded *simplelru.LRU[string, *player]
	limit   int
	spare   *feature.State // of the player stored last
	scratch []byte
	seen    int64
	err     error
}

type player struct {
	hash    string
	state   *feature.State
	waiting []*pending // rows whose labels are open, oldest first
}

func newPlayers(set *feature.Set, decoded int) (*players, error) {
	ps := &players{set: set, limit: decoded, stored: map[string][]byte{}, waiting: map[string][]*pending{}}
	var err error
	ps.decoded, err = simplelru.NewLRU(decoded, ps.store)
	return ps, err
}

// store is called for a player who leaves the decoded ones.
func (ps *players) store(id string, p *player) {
	var err error
	if ps.scratch, err = ps.set.Append(ps.scratch[:0], p.state); err != nil {
		ps.err = err
	}
	ps.stored[id] = bytes.Clone(ps.scratch)
	ps.spare = p.state
	if len(p.waiting) > 0 {
		ps.waiting[id] = p.waiting
	}
}

// written forgets a row whose labels no event will be shown any more.
func (ps *players) written(id string, row *pending) {
	if p, ok := ps.decoded.Peek(id); ok {
		p.waiting = without(p.waiting, row)
		return
	}
	if rows := without(ps.waiting[id], row); len(rows) > 0 {
		ps.waiting[id] = rows
	} else {
		delete(ps.waiting, id)
	}
}

// without takes row out of rows; it mostly is the first.
func without(rows []*pending, row *pending) []*pending {
	if n := slices.Index(rows, row); n >= 0 {
		return slices.Delete(rows, n, n+1)
	}
	return rows
}

func (ps *players) get(id string) (*player, error) {
	if p, ok := ps.decoded.Get(id); ok {
		return p, nil
	}
	b, known := ps.stored[id]
	if !known {
		ps.seen++
	}
	if ps.decoded.Len() == ps.limit {
		ps.decoded.RemoveOldest() // its state's memory is used again
	}
	st, err := ps.set.Reuse(ps.spare, b)
	ps.spare = nil
	if err != nil {
		return nil, err
	}
	p := &player{hash: event.HashPlayer(id), state: st, waiting: ps.waiting[id]}
	delete(ps.waiting, id)
	ps.decoded.Add(id, p)
	return p, ps.err
}
