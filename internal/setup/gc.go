package setup

import (
	"os"
	"runtime/debug"
)

// RelaxGC trades memory for CPU: events make garbage and live memory is small,
// so the collector may run a quarter as often. GOGC, if set, stands.
func RelaxGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}
