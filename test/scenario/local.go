package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"sigs.k8s.io/yaml"

	"pitboss/broker"
)

// Local is the one-machine Broker as a target: a Broker per scenario.
type Local struct {
	dir     string
	brokers []*broker.Broker
}

// NewLocal keeps manifests and logs in dir.
func NewLocal(dir string) *Local { return &Local{dir: dir} }

// Deploy implements [Target].
func (l *Local) Deploy(_ context.Context, s Scenario, subscribers []string, dead string) (string, error) {
	dir := filepath.Join(l.dir, s.Name)
	triggers := filepath.Join(dir, "triggers")
	if err := os.MkdirAll(triggers, 0o755); err != nil {
		return "", fmt.Errorf("scenario: %w", err)
	}
	bm, err := s.Broker(dead)
	if err != nil {
		return "", err
	}
	if err := write(filepath.Join(dir, "broker.yaml"), bm); err != nil {
		return "", err
	}
	for i, t := range s.Triggers {
		tm, err := s.Trigger(i, subscribers[i], dead)
		if err != nil {
			return "", err
		}
		if err := write(filepath.Join(triggers, t.Name+".yaml"), tm); err != nil {
			return "", err
		}
	}
	b, err := broker.Open(broker.Config{DataDir: filepath.Join(dir, "log"), BrokerFile: filepath.Join(dir, "broker.yaml"), TriggerDirs: []string{triggers}, Logger: zap.NewNop()})
	if err != nil {
		return "", err
	}
	l.brokers = append(l.brokers, b)
	go b.Serve()
	return b.URL(), nil
}

// Close drains every Broker.
func (l *Local) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, b := range l.brokers {
		if err := b.Drain(ctx); err != nil {
			return err
		}
	}
	return nil
}

// write leaves out the status, which strict decoding would take and a person
// would not write.
func write(file string, obj any) error {
	text, err := yaml.Marshal(obj)
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	return nil
}
