package profile

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// results counts events by result: applied, duplicate, late, unknown_round (a rollback
// of a round that is unknown or too old, so nothing was undone), erased (from before
// the player's erasure), ignored (only other functions handle it), refused (400),
// failed (500, retried).
var results = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "pitboss_profile_events_total",
	Help: "Events by result.",
}, []string{"result"})

// Results that are also counted by producer and day; see player.KeptOut.
const (
	resultApplied = "applied"
	resultLate    = "late"
	resultUnknown = "unknown_round"
)
