// Package functions is the registry: one line per function. A new function is
// a folder beside this file, a line here, a func.yaml in its folder and a
// Trigger in triggers/.
package functions

import (
	"fmt"
	"sort"
	"strings"

	"pitboss/functions/console"
	"pitboss/functions/decide"
	"pitboss/functions/feedback"
	"pitboss/functions/ingest"
	"pitboss/functions/privacy"
	"pitboss/functions/profile"
	"pitboss/functions/score"
	"pitboss/functions/timer"
)

// registry maps FUNCTION_TARGET to the function's constructor. The concrete
// type is returned as it is: func-go finds Start, Stop, Ready and Handle on it
// by type assertion.
var registry = map[string]func() any{
	"console":  func() any { return console.New() },
	"decide":   func() any { return decide.New() },
	"feedback": func() any { return feedback.New() },
	"ingest":   func() any { return ingest.New() },
	"privacy":  func() any { return privacy.New() },
	"profile":  func() any { return profile.New() },
	"score":    func() any { return score.New() },
	"timer":    func() any { return timer.New() },
}

// New returns the function called name, not yet started.
func New(name string) (any, error) {
	make, ok := registry[name]
	if !ok {
		return nil, fmt.Errorf("functions: FUNCTION_TARGET is %q: want one of %s", name, strings.Join(Names(), ", "))
	}
	return make(), nil
}

// Names lists every function, sorted.
func Names() []string {
	names := make([]string, 0, len(registry))
	for n := range registry {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}
