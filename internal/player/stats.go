package player

import "sync/atomic"

type stats struct{ events, batches, conflicts, duplicates, misses atomic.Uint64 }

// Stats counts what a Store did since it was made.
type Stats struct {
	Events     uint64 // Updates that had their turn
	Batches    uint64 // commits they were gathered into
	Conflicts  uint64 // commits refused: another writer was first, or a duplicate
	Duplicates uint64 // events answered from the duplicate memory
	Misses     uint64 // batches that had to read the state first
}

// Stats returns the counts so far.
func (st *Store[S]) Stats() Stats {
	s := &st.stats
	return Stats{s.events.Load(), s.batches.Load(), s.conflicts.Load(), s.duplicates.Load(), s.misses.Load()}
}
