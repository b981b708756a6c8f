package policy

import (
	"testing"

	"pitboss/internal/feature"
)

func policy(tb testing.TB) *Policy {
	tb.Helper()
	set, err := feature.Load("../../models/features.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	p, err := Load("../../models", set.Names())
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestShippedPolicyChecks(t *testing.T) {
	t.Parallel()
	rep, err := policy(t).Check()
	if err != nil {
		t.Fatal(err)
	}
	if rep.Packs < 21 || rep.Rules < 68 || rep.Markers < 20 {
		t.Fatalf("only %+v", rep)
	}
	t.Logf("%+v", rep)
}
