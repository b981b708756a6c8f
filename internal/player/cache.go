package player

import (
	"sync"

	"github.com/cespare/xxhash/v2"
)

// call is an Update in progress.
type call[S any] struct {
	op   Op[S]
	wake chan bool // receives true to lead the next batch, or false when the call is done

	eff Effects
	res Result
	err error
}

// entry is an instance's cache of a player, with the queue of waiting calls. state is nil
// if it is unknown. Only the leader of the current batch accesses version, erased, ids and
// state; the stripe's mutex protects the other fields.
type entry[S any] struct {
	name    string
	version Version
	erased  mark
	ids     []byte // duplicate memory
	state   *S

	busy       bool
	queue      []*call[S]
	prev, next *entry[S] // in the LRU list while idle
}

const stripes = 64

// cache holds the entries by player. Busy entries are always in it; the least recently used
// idle entries are dropped.
type cache[S any] struct {
	stripes [stripes]struct {
		mu      sync.Mutex
		entries map[string]*entry[S]
		idle    entry[S] // sentinel: next is the most recently used
		n       int      // idle entries
		spare   []*S     // dropped states, whose memory is reused
	}
	limit int // idle entries in a stripe
}

// spares bounds the dropped states that a stripe keeps for their memory. For every state
// that is dropped, another one is read. Rejected: a sync.Pool, which is emptied by garbage
// collections.
const spares = 8

func (c *cache[S]) init(players int) {
	if players > 0 {
		c.limit = (players + stripes - 1) / stripes
	}
	for i := range c.stripes {
		s := &c.stripes[i]
		s.entries = map[string]*entry[S]{}
		s.idle.next, s.idle.prev = &s.idle, &s.idle
	}
}

func stripeOf(player string) int { return int(xxhash.Sum64String(player) >> 58) }

// enter makes k the leader, or queues it if the player has a batch in progress.
func (c *cache[S]) enter(player string, k *call[S]) (p *entry[S], lead bool) {
	s := &c.stripes[stripeOf(player)]
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.entries[player]
	switch {
	case !ok:
		p = &entry[S]{name: player}
		s.entries[player] = p
	case p.busy:
		k.wake = make(chan bool, 1)
		p.queue = append(p.queue, k)
		return p, false
	default:
		p.unlink()
		s.n--
	}
	p.busy = true
	return p, true
}

// leave removes k from the queue. It returns false if k is no longer queued.
func (c *cache[S]) leave(p *entry[S], k *call[S]) bool {
	s := &c.stripes[stripeOf(p.name)]
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, q := range p.queue {
		if q == k {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			return true
		}
	}
	return false
}

// batch takes the leader's call and the queued ones, at most max.
func (c *cache[S]) batch(p *entry[S], leader *call[S], max int) []*call[S] {
	s := &c.stripes[stripeOf(p.name)]
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(p.queue), max-1)
	batch := make([]*call[S], 0, n+1)
	batch = append(append(batch, leader), p.queue[:n]...)
	p.queue = append(p.queue[:0], p.queue[n:]...)
	return batch
}

// exit ends a batch. The first queued call becomes the next leader.
func (c *cache[S]) exit(p *entry[S]) {
	s := &c.stripes[stripeOf(p.name)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p.queue) > 0 {
		next := p.queue[0]
		p.queue = append(p.queue[:0], p.queue[1:]...)
		next.wake <- true
		return
	}
	p.busy = false
	p.queue = nil
	if c.limit == 0 || p.state == nil {
		delete(s.entries, p.name)
		return
	}
	p.prev, p.next = &s.idle, s.idle.next
	p.prev.next, p.next.prev = p, p
	if s.n++; s.n > c.limit {
		last := s.idle.prev
		last.unlink()
		delete(s.entries, last.name)
		s.n--
		if len(s.spare) < spares {
			s.spare = append(s.spare, last.state)
		}
	}
}

// reuse returns a dropped state whose memory can be reused, or nil.
func (c *cache[S]) reuse(player string) (old *S) {
	s := &c.stripes[stripeOf(player)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.spare); n > 0 {
		old, s.spare = s.spare[n-1], s.spare[:n-1]
	}
	return old
}

func (p *entry[S]) unlink() {
	p.prev.next, p.next.prev = p.next, p.prev
	p.prev, p.next = nil, nil
}
