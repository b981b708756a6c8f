package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"pitboss/internal/player"
)

// counter is read off something that counts for itself, when somebody asks.
type counter struct {
	name, help string
	read       func() uint64
}

const (
	commitsName, commitsHelp     = "pitboss_redis_commits_total", "Commits sent to Redis: one round trip each, for the events gathered into it."
	conflictsName, conflictsHelp = "pitboss_redis_conflicts_total", "Commits refused because another writer was first."
)

// WatchStore makes a store's counters metrics of function fn; stop removes
// them. stats is player.Store.Stats.
func WatchStore(fn string, stats func() player.Stats) (stop func() error) {
	return watch(fn,
		counter{"pitboss_redis_events_total", "Events that had their turn at a player's state.", func() uint64 { return stats().Events }},
		counter{commitsName, commitsHelp, func() uint64 { return stats().Batches }},
		counter{conflictsName, conflictsHelp, func() uint64 { return stats().Conflicts }},
		counter{"pitboss_redis_duplicates_total", "Events answered from the duplicate memory.", func() uint64 { return stats().Duplicates }},
		counter{"pitboss_redis_reads_total", "Commits that needed a read of the state first.", func() uint64 { return stats().Misses }})
}

// WatchJournal is WatchStore for a journal. stats is journal.Journal.Stats.
func WatchJournal(fn string, stats func() (commits, conflicts uint64)) (stop func() error) {
	return watch(fn,
		counter{commitsName, commitsHelp, func() uint64 { n, _ := stats(); return n }},
		counter{conflictsName, conflictsHelp, func() uint64 { _, n := stats(); return n }})
}

func watch(fn string, counters ...counter) (stop func() error) {
	var made []prometheus.Collector
	for _, c := range counters {
		collector := prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help, ConstLabels: prometheus.Labels{"function": fn}},
			func() float64 { return float64(c.read()) })
		if prometheus.Register(collector) == nil { // a second instance in one process is not counted apart
			made = append(made, collector)
		}
	}
	return func() error {
		for _, c := range made {
			prometheus.Unregister(c)
		}
		return nil
	}
}
