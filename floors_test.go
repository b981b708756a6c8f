package pitboss_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// floors orders the packages: a package imports packages of lower floors only
// (and those of its own floor where it says so). docs/architecture.md draws it.
var floors = []struct {
	prefix string
	floor  int
	// sameFloor allows imports among packages of the same floor.
	sameFloor bool
	why       string
}{
	{"pitboss/internal/event", 1, false, "the contract depends on nothing"},
	{"pitboss/internal/strictyaml", 1, false, "reads configuration files"},
	{"pitboss/internal/openid", 1, true, "checks tokens"},
	{"pitboss/internal/cehttp", 2, false, "reads and writes CloudEvents over HTTP"},
	{"pitboss/internal/sink", 3, false, "POSTs CloudEvents"},
	{"pitboss/internal/redisdb", 1, false, "knows no keys"},
	{"pitboss/internal/cache", 0, false, "remembers results of pure functions"},
	{"pitboss/internal/coalesce", 0, false, "batches the work of concurrent callers"},
	{"pitboss/internal/learn", 2, false, "learning knows numbers, not events, rules or players"},
	{"pitboss/internal/player", 2, false, "state knows no features"},
	{"pitboss/internal/feature", 3, false, "features know no models and no rules"},
	{"pitboss/internal/model", 4, false, "model, policy and journal never import each other"},
	{"pitboss/internal/policy", 4, false, "model, policy and journal never import each other"},
	{"pitboss/internal/journal", 4, false, "model, policy and journal never import each other"},
	{"pitboss/internal/setup", 5, true, "configuration, Redis, logs, telemetry"},
	{"pitboss/internal/telemetry", 5, true, "configuration, Redis, logs, telemetry"},
	{"pitboss/internal/access", 5, true, "who may use the console"},
	{"pitboss/internal/search", 5, false, "finds decisions in the journal"},
	{"pitboss/functions/serve", 8, false, "main"},
	{"pitboss/functions/", 6, false, "functions never import each other: events are all they share"},
	{"pitboss/functions", 7, true, "the registry"},
	{"pitboss/internal/", 7, true, "commands, datasets, simulator"},
	{"pitboss/docs/", 8, false, "examples for readers"},
	{"pitboss/broker/spec", 6, false, "Brokers and Triggers, read without Kubernetes"},
	{"pitboss/broker/manifest", 7, false, "Broker and Trigger files"},
	{"pitboss/broker/local", 9, false, "main"},
	{"pitboss/broker", 8, true, "the one-machine Broker"},
	{"pitboss/test/", 9, true, "rigs: they drive the product from outside"},
	{"pitboss", 8, false, "kn func's build unit"},
}

// only says which packages may import what.
var only = []struct {
	imported string
	by       []string
	why      string
}{
	{"github.com/redis/go-redis/v9", []string{"pitboss/internal/redisdb", "pitboss/test"},
		"another client takes its place in one package (benchstate measures raw Redis)"},
	{"github.com/yalue/onnxruntime_go", []string{"pitboss/internal/model"}, "one package owns the native library's memory"},
	{"knative.dev/eventing", []string{"pitboss/broker", "pitboss/test"}, "it would add 70 MB to every function's image"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImportsGoDownOnly(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		mine, own := floorOf(p.ImportPath)
		if mine < 0 {
			t.Errorf("%s stands on no floor: add it to floors_test.go", p.ImportPath)
		}
		for _, i := range p.Imports {
			theirs, _ := floorOf(i)
			if strings.HasPrefix(i, "pitboss") && (theirs > mine || theirs == mine && !floors[own].sameFloor && !nested(p.ImportPath, i)) {
				t.Errorf("%s (floor %d) imports %s (floor %d): %s", p.ImportPath, mine, i, theirs, floors[own].why)
			}
			for _, o := range only {
				if inModule(i, o.imported) && !slices.ContainsFunc(o.by, func(by string) bool { return inModule(p.ImportPath, by) }) {
					t.Errorf("%s imports %s, which only %s may: %s", p.ImportPath, i, strings.Join(o.by, ", "), o.why)
				}
			}
		}
	}
}

// nested: a package and its own subfolders are one floor.
func nested(a, b string) bool { return inModule(a, b) || inModule(b, a) }

func inModule(path, module string) bool { return path == module || strings.HasPrefix(path, module+"/") }

func floorOf(path string) (floor, index int) {
	for n, f := range floors {
		if path == strings.TrimSuffix(f.prefix, "/") || strings.HasPrefix(path, strings.TrimSuffix(f.prefix, "/")+"/") {
			if strings.HasSuffix(f.prefix, "/") && path == strings.TrimSuffix(f.prefix, "/") {
				continue
			}
			if f.prefix == "pitboss" && path != "pitboss" {
				continue
			}
			return f.floor, n
		}
	}
	return -1, 0
}

func list(t *testing.T) (out []pkg) {
	t.Helper()
	raw, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(raw))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}
