// Package cache remembers what a function said of the few values that it is
// asked about again and again: a source's URI, a filter's verdict on a type.
package cache

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Of is a function of K that always says the same of the same value, with a
// memory. It is safe for concurrent use, and reading it takes no lock.
type Of[K comparable, V any] struct {
	most int
	own  func(K) K
	f    func(K) V

	known  atomic.Pointer[map[K]V] // never changed, but replaced
	adding sync.Mutex
}

// New remembers up to most values of f. Of what is beyond, f is asked each time:
// whoever sends ever new values must not take memory. own makes a copy of what is
// asked about, such as a part of a larger string, to be asked about and kept.
func New[K comparable, V any](most int, own func(K) K, f func(K) V) *Of[K, V] {
	m := &Of[K, V]{most: most, own: own, f: f}
	m.known.Store(&map[K]V{})
	return m
}

// Get is f(k).
func (m *Of[K, V]) Get(k K) V {
	if v, ok := (*m.known.Load())[k]; ok {
		return v
	}
	k = m.own(k)
	v := m.f(k)
	if len(*m.known.Load()) < m.most {
		m.add(k, v)
	}
	return v
}

func (m *Of[K, V]) add(k K, v V) {
	m.adding.Lock()
	defer m.adding.Unlock()
	old := *m.known.Load()
	if len(old) >= m.most {
		return
	}
	next := maps.Clone(old)
	next[k] = v
	m.known.Store(&next)
}
