package trainingset

import (
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
	seen    int64
	err     error
}

type player struct {
	hash    string
	state   *feature.State
	waiting []*pending // rows whose labels are open, oldest first
}

func newPlayers(set *feature.Set, decoded int) (*players, error) {
	ps := &players{set: set, stored: map[string][]byte{}, waiting: map[string][]*pending{}}
	var err error
	ps.decoded, err = simplelru.NewLRU(decoded, ps.store)
	return ps, err
}

// store is called for a player who leaves the decoded ones.
func (ps *players) store(id string, p *player) {
	b, err := ps.set.Append(nil, p.state)
	if err != nil {
		ps.err = err
	}
	ps.stored[id] = b
	if len(p.waiting) > 0 {
		ps.waiting[id] = p.waiting
	}
}

// written forgets a row that was written while its player was stored.
func (ps *players) written(id string, row *pending) {
	rows, ok := ps.waiting[id]
	if !ok {
		return
	}
	rows = slices.DeleteFunc(rows, func(r *pending) bool { return r == row })
	if len(rows) == 0 {
		delete(ps.waiting, id)
	} else {
		ps.waiting[id] = rows
	}
}

func (ps *players) get(id string) (*player, error) {
	if p, ok := ps.decoded.Get(id); ok {
		return p, nil
	}
	b, known := ps.stored[id]
	if !known {
		ps.seen++
	}
	st, err := ps.set.Decode(b)
	if err != nil {
		return nil, err
	}
	p := &player{hash: event.HashPlayer(id), state: st, waiting: ps.waiting[id]}
	delete(ps.waiting, id)
	ps.decoded.Add(id, p)
	return p, ps.err
}
