package event_test

import (
	"flag"
	"os"
	"testing"

	"pitboss/internal/event"
)

var update = flag.Bool("update", false, "write generated files anew")

func TestCatalogueIsCurrent(t *testing.T) {
	const file = "../../docs/events.md"
	if *update {
		if err := os.WriteFile(file, []byte(event.Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != event.Markdown() {
		t.Errorf("docs/events.md is not what the types say: run go test ./internal/event -run Catalogue -update")
	}
}
