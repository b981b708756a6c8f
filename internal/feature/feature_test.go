package feature_test

import (
	"testing"

	"pitboss/internal/feature"
)

func load(t testing.TB) *feature.Set {
	t.Helper()
	s, err := feature.Load("../../models/features.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLoad(t *testing.T) {
	s := load(t)
	t.Log(len(s.Names()), s.Hash(), s.Names())
}
