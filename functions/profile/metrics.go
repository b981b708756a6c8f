package profile

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// results counts events by what became of them: applied, duplicate, late,
// unknown_round (the rollback of a round that is not known, or was folded too
// long ago: nothing was undone), erased (from before the player's erasure),
// ignored (another function's), refused (400), failed (500, retried).
var results = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "pitboss_profile_events_total",
	Help: "Events by what became of them.",
}, []string{"result"})

// What the producer of an event is told of, by day: see player.KeptOut.
const (
	resultApplied = "applied"
	resultLate    = "late"
	resultUnknown = "unknown_round"
)
