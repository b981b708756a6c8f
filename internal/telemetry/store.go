package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"pitboss/internal/player"
)

// storeCounters are read off a player.Store when somebody asks.
var storeCounters = []struct {
	name, help string
	read       func(player.Stats) uint64
}{
	{"pitboss_redis_events_total", "Events that had their turn at a player's state.", func(s player.Stats) uint64 { return s.Events }},
	{"pitboss_redis_commits_total", "Commits sent to Redis: one round trip each, for the events gathered into it.", func(s player.Stats) uint64 { return s.Batches }},
	{"pitboss_redis_conflicts_total", "Commits refused because another writer was first.", func(s player.Stats) uint64 { return s.Conflicts }},
	{"pitboss_redis_duplicates_total", "Events answered from the duplicate memory.", func(s player.Stats) uint64 { return s.Duplicates }},
	{"pitboss_redis_reads_total", "Commits that needed a read of the state first.", func(s player.Stats) uint64 { return s.Misses }},
}

// WatchStore makes a store's counters metrics of function fn; stop removes
// them. stats is player.Store.Stats.
func WatchStore(fn string, stats func() player.Stats) (stop func()) {
	var made []prometheus.Collector
	for _, c := range storeCounters {
		counter := prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help, ConstLabels: prometheus.Labels{"function": fn}},
			func() float64 { return float64(c.read(stats())) })
		if prometheus.Register(counter) == nil { // a second instance in one process is not counted apart
			made = append(made, counter)
		}
	}
	return func() {
		for _, c := range made {
			prometheus.Unregister(c)
		}
	}
}
