package scenario_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pitboss/test/scenario"
)

var update = flag.Bool("update", false, "write testdata/*.txt from what happens")

// The one-machine Broker does what testdata says, both for subscribers over HTTP and for
// functions in its process. make conformance runs the same table against a Knative control
// plane.
func TestOneMachineBroker(t *testing.T) { play(t, false) }

func TestOneMachineBrokerInProcess(t *testing.T) { play(t, true) }

func play(t *testing.T, inProcess bool) {
	t.Parallel()
	for _, s := range scenario.Table() {
		t.Run(s.Name, func(t *testing.T) {
			if inProcess && s.OverHTTP != "" {
				t.Skip(s.OverHTTP)
			}
			t.Parallel()
			local := scenario.NewLocal(t.TempDir(), inProcess)
			t.Cleanup(func() {
				if err := local.Close(); err != nil {
					t.Error(err)
				}
			})
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			got, err := scenario.Run(ctx, local, s)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", s.Name+".txt")
			if *update && !inProcess {
				if err := os.WriteFile(golden, []byte(got.String()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := scenario.Differ(strings.Split(strings.TrimSpace(string(want)), "\n"), got); len(diff) > 0 {
				t.Errorf("- wanted + got\n%s", strings.Join(diff, "\n"))
			}
		})
	}
}
