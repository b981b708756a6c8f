// Package shipped loads what the repository ships in models/, for tests.
package shipped

import (
	"testing"

	"pitboss/internal/feature"
	"pitboss/internal/policy"
)

// models is the folder's path from a package two levels down, as all packages that use it
// are.
const models = "../../models"

// Features loads the shipped features.yaml.
func Features(tb testing.TB) *feature.Set {
	tb.Helper()
	set, err := feature.Load(models + "/features.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

// Policy loads the shipped policy, and the features that it reads.
func Policy(tb testing.TB) (*policy.Policy, *feature.Set) {
	tb.Helper()
	set := Features(tb)
	p, err := policy.Load(models, set.Names())
	if err != nil {
		tb.Fatal(err)
	}
	return p, set
}
