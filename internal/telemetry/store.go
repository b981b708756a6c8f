package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"pitboss/internal/player"
)

// counter is a metric whose value is read when metrics are scraped.
type counter struct {
	name, help string
	read       func() uint64
}

const (
	commitsName, commitsHelp     = "pitboss_redis_commits_total", "Commits sent to Redis: one round trip each, for all events coalesced into it."
	conflictsName, conflictsHelp = "pitboss_redis_conflicts_total", "Commits refused because another writer was faster."
)

// WatchStore exports a store's counters as metrics of the function fn. stop removes them.
// stats is player.Store.Stats.
func WatchStore(fn string, stats func() player.Stats) (stop func() error) {
	return watch(fn,
		counter{"pitboss_redis_events_total", "Events handled by the players' store.", func() uint64 { return stats().Events }},
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
		if prometheus.Register(collector) == nil { // fails for a second instance in one process, which is not counted
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
