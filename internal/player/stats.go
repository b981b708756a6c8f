package player

import "sync/atomic"

type stats struct{ events, batches, conflicts, duplicates, misses atomic.Uint64 }

// Stats counts the work of a Store since it was created.
type Stats struct {
	Events     uint64 // Updates that were run
	Batches    uint64 // batches that they were coalesced into
	Conflicts  uint64 // attempts refused because another writer was faster
	Duplicates uint64 // events answered from the duplicate memory
	Misses     uint64 // batches that had to read the state first
}

// Stats returns the counts so far.
func (st *Store[S]) Stats() Stats {
	s := &st.stats
	return Stats{s.events.Load(), s.batches.Load(), s.conflicts.Load(), s.duplicates.Load(), s.misses.Load()}
}
