// Package cache memoizes functions that are called again and again with the same few values:
// parsing a source's URI, matching a filter with a type.
package cache

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Of memoizes a pure function of K. It is safe for concurrent use, and a hit takes no lock.
type Of[K comparable, V any] struct {
	most int
	own  func(K) K
	f    func(K) V

	known  atomic.Pointer[map[K]V] // copy on write: the map is replaced, never changed
	adding sync.Mutex              // serializes writers
}

// New memoizes up to most values of f. Beyond that, f is called each time, so that a sender of
// ever new values can't use up memory. own copies a key, which may be a part of a larger
// string, before it is passed to f and kept.
func New[K comparable, V any](most int, own func(K) K, f func(K) V) *Of[K, V] {
	m := &Of[K, V]{most: most, own: own, f: f}
	m.known.Store(&map[K]V{})
	return m
}

// Get returns f(k).
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
