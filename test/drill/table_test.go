package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Others script against the JSON, so figures that are only printed must not be in it.
func TestNotesArePrintedOnly(t *testing.T) {
	t.Parallel()
	var drill table
	drill.add("lost", 0)
	drill.note("late", 3)
	drill.add("longest_gap_ms", 70.5)
	file := filepath.Join(t.TempDir(), "drill.json")
	if err := drill.write(file); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "{\"longest_gap_ms\":70.5,\"lost\":0}\n" {
		t.Errorf("%s, %v", got, err)
	}
}
