// Package functions is the registry: one line per function. A new function is
// a folder beside this file, a line here, a func.yaml in its folder and a
// Trigger in triggers/.
package functions

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/rs/zerolog"

	"pitboss/functions/console"
	"pitboss/functions/decide"
	"pitboss/functions/feedback"
	"pitboss/functions/ingest"
	"pitboss/functions/privacy"
	"pitboss/functions/profile"
	"pitboss/functions/score"
	"pitboss/functions/timer"
	"pitboss/internal/setup"
)

// registry maps FUNCTION_TARGET to the function's constructor. over serves event
// functions; console and ingest serve HTTP themselves.
var registry = map[string]func() HTTPFunction{
	"console":  func() HTTPFunction { return console.New() },
	"decide":   func() HTTPFunction { return over(decide.New()) },
	"feedback": func() HTTPFunction { return over(feedback.New()) },
	"ingest":   func() HTTPFunction { return ingest.New() },
	"privacy":  func() HTTPFunction { return over(privacy.New()) },
	"profile":  func() HTTPFunction { return over(profile.New()) },
	"score":    func() HTTPFunction { return over(score.New()) },
	"timer":    func() HTTPFunction { return over(timer.New()) },
}

// HTTPFunction is what func-go's http middleware serves. The concrete type must have
// every method, since func-go finds Start, Stop and Ready by type assertion.
type HTTPFunction interface {
	Lifecycle
	Handle(http.ResponseWriter, *http.Request)
}

func over(f Function) HTTPFunction {
	return overHTTP{Lifecycle: f, handle: f.Handle}
}

// Answerer is an HTTPFunction that can also be called without HTTP. All event functions
// are.
type Answerer interface {
	Answer(ctx context.Context, e *ce.Event) (reply *ce.Event, status int, reason string)
}

// New returns the function called name, not yet started.
func New(name string) (HTTPFunction, error) {
	make, ok := registry[name]
	if !ok {
		return nil, fmt.Errorf("functions: FUNCTION_TARGET is %q: want one of %s", name, strings.Join(Names(), ", "))
	}
	quietFuncGo()
	setup.RelaxGC()
	return make(), nil
}

// quietFuncGo limits func-go's own log, which has a line for every readiness probe, to
// warnings, unless LOG_LEVEL is debug.
func quietFuncGo() {
	if os.Getenv("LOG_LEVEL") != "debug" {
		zerolog.SetGlobalLevel(zerolog.WarnLevel)
	}
}

// FromEnvironment returns the function that FUNCTION_TARGET names, to be the only one in
// this process.
func FromEnvironment() (HTTPFunction, error) {
	listenOnLoopback()
	return New(os.Getenv("FUNCTION_TARGET"))
}

// listenOnLoopback makes a function that is started by hand listen on loopback only.
// func-go would listen on every interface. An image sets LISTEN_ADDRESS.
func listenOnLoopback() {
	if os.Getenv("LISTEN_ADDRESS") != "" || os.Getenv("ADDRESS") != "" {
		return
	}
	port := cmp.Or(os.Getenv("PORT"), "8080")
	_ = os.Setenv("LISTEN_ADDRESS", net.JoinHostPort("127.0.0.1", port)) // fails only for an invalid name
}

// Names lists every function, sorted.
func Names() []string {
	return slices.Sorted(maps.Keys(registry))
}
