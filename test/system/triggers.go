package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pitboss/internal/event"
)

// triggersFor copies the Triggers whose subscribers are started.
func (s *System) triggersFor(cfg Config) (string, error) {
	dir := filepath.Join(s.Dir, "triggers")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("system: %w", err)
	}
	runs := map[string]bool{"pitboss-local-consumer": true}
	for _, name := range cfg.Functions {
		runs["pitboss-"+name] = true
	}
	for _, from := range []string{"triggers", "broker/local/triggers"} {
		files, err := filepath.Glob(filepath.Join(from, "*.yaml"))
		if err != nil {
			return "", fmt.Errorf("system: %w", err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("system: %w", err)
			}
			_, after, ok := strings.Cut(string(raw), "subscriber:")
			if !ok || strings.Contains(string(raw), "type: "+event.TypePlayerScored) && from != "triggers" {
				continue // the Trigger of scores is only for GET /stats of local mode
			}
			_, after, _ = strings.Cut(after, "name: ")
			if name, _, _ := strings.Cut(after, "\n"); !runs[strings.TrimSpace(name)] {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), raw, 0o644); err != nil {
				return "", fmt.Errorf("system: %w", err)
			}
		}
	}
	return dir, idleTriggers(dir, cfg.Idle)
}

// idleTriggers writes n Triggers whose type matches most events but whose source matches
// none, so that the Broker must check each event for each of them.
func idleTriggers(dir string, n int) error {
	for i := range n {
		text := fmt.Sprintf(`apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: pitboss-idle-%[1]d
spec:
  broker: pitboss
  filter:
    attributes:
      type: pitboss.round.settled.v1
      source: /nobody/%[1]d
  subscriber:
    ref:
      apiVersion: v1
      kind: Service
      name: pitboss-local-consumer
`, i)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("idle-%d.yaml", i)), []byte(text), 0o600); err != nil {
			return fmt.Errorf("system: %w", err)
		}
	}
	return nil
}
