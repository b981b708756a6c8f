// Package pitboss is the build unit of `kn func`: one image holds every
// function, and FUNCTION_TARGET, set in each function's func.yaml, says which
// one an instance is. See functions/ for what each does.
package pitboss

import (
	"fmt"
	"os"

	"pitboss/functions"
)

// New returns the function that FUNCTION_TARGET names. func's scaffolding
// calls it once, at start, as http.Start(f.New()): so its type must have Handle.
// An unknown name ends the process: nothing could be served, and the reason must
// be the last line of the log.
func New() functions.HTTPFunction {
	f, err := functions.FromEnvironment()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return f
}
