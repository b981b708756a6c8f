package setup

import (
	"os"
	"strings"
	"syscall"
)

// SteadySysmon, as GODEBUG, keeps the Go runtime's monitor thread from its deep
// sleep. The first system call after an idle moment wakes it from there, and
// then it looks every 20 µs until all is idle again. A service that is called
// some hundred times a second wakes it for each call: half of all thread
// switches of the functions at 250 events/s were its own (golang/go#18236,
// docs/performance.md). Out of deep sleep it looks every 10 ms, as it does in a
// process that is always busy. The price is 100 looks a second when nothing
// happens, and one line beginning with SCHED on stderr in 24 days: the
// runtime's own trace, which asks for a thread that does not sleep, here at the
// longest interval it takes.
const SteadySysmon = "schedtrace=2147483647"

// KeepSysmonSteady starts this program anew with SteadySysmon, once: the
// runtime reads the setting when it starts. What the caller set in GODEBUG
// stands. Deployed functions have it from their func.yaml instead. An error
// only means that the program goes on without.
func KeepSysmonSteady() error {
	settings := os.Getenv("GODEBUG")
	if strings.Contains(settings, "schedtrace=") {
		return nil
	}
	if settings != "" {
		settings += ","
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Setenv("GODEBUG", settings+SteadySysmon); err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, os.Environ())
}
