package setup

import (
	"os"
	"runtime/debug"
)

// RelaxGC trades memory for CPU: events make much garbage and little live memory, so the
// collector runs a quarter as often. If GOGC is set, it changes nothing.
func RelaxGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}
