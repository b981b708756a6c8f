// Package shipped loads what the repository ships in models/, for tests.
package shipped

import (
	"testing"

	"pitboss/internal/feature"
	"pitboss/internal/policy"
)

// models is where the folder is from a package two levels down, as every package
// with such tests is.
const models = "../../models"

// Features is the shipped features.yaml.
func Features(tb testing.TB) *feature.Set {
	tb.Helper()
	set, err := feature.Load(models + "/features.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

// Policy is the shipped policy, and the features that it reads.
func Policy(tb testing.TB) (*policy.Policy, *feature.Set) {
	tb.Helper()
	set := Features(tb)
	p, err := policy.Load(models, set.Names())
	if err != nil {
		tb.Fatal(err)
	}
	return p, set
}
