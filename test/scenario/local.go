package scenario

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	sdkhttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"go.uber.org/zap"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/yaml"

	"pitboss/broker"
	"pitboss/internal/cehttp"
)

// Local runs scenarios on one-machine Brokers, one for each scenario.
type Local struct {
	dir       string
	inProcess bool
	brokers   []*broker.Broker
}

// NewLocal returns a target that keeps manifests and logs in dir. Its subscribers are
// functions in the Broker's process, or servers that it reaches over HTTP.
func NewLocal(dir string, inProcess bool) *Local { return &Local{dir: dir, inProcess: inProcess} }

// Deploy implements [Target].
func (l *Local) Deploy(_ context.Context, s Scenario, subscribers []string, dead string) (string, error) {
	called := map[string]broker.Function{}
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
		if l.inProcess && !t.Down {
			name := service(t.Name)
			called[name] = function(subscribers[i])
			tm.Spec.Subscriber = duckv1.Destination{Ref: &duckv1.KReference{APIVersion: "serving.knative.dev/v1", Kind: "Service", Name: name}}
		}
		if err := write(filepath.Join(triggers, t.Name+".yaml"), tm); err != nil {
			return "", err
		}
	}
	b, err := broker.Open(broker.Config{DataDir: filepath.Join(dir, "log"), BrokerFile: filepath.Join(dir, "broker.yaml"), TriggerDirs: []string{triggers}, Logger: zap.NewNop(),
		Function: func(service string) (broker.Function, bool) { f, ok := called[service]; return f, ok }})
	if err != nil {
		return "", err
	}
	l.brokers = append(l.brokers, b)
	go b.Serve()
	return b.URL(), nil
}

// function is a function that answers like the subscriber at url. Like every function it
// sees the event but not the HTTP headers.
func function(url string) broker.Function {
	return func(ctx context.Context, e *ce.Event) (*ce.Event, int, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(e.Data()))
		if err != nil {
			return nil, http.StatusInternalServerError, err.Error()
		}
		if e.SpecVersion() == ce.CloudEventsVersionV1 {
			cehttp.WriteHeader(req.Header, e)
		} else if err := sdkhttp.WriteRequest(ctx, binding.ToMessage(e), req); err != nil {
			return nil, http.StatusInternalServerError, err.Error()
		}
		req.Header.Set("Prefer", "reply")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, http.StatusInternalServerError, err.Error()
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode >= 300 || len(body) == 0 && res.Header.Get("Ce-Specversion") == "" {
			return nil, res.StatusCode, string(body)
		}
		reply, err := binding.ToEvent(ctx, sdkhttp.NewMessage(res.Header, io.NopCloser(bytes.NewReader(body))))
		if err != nil { // a function can only reply with an event
			return nil, http.StatusBadGateway, "the reply is neither empty nor a CloudEvent: " + err.Error()
		}
		return reply, res.StatusCode, ""
	}
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

// write writes a manifest without its status, which no person would write.
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
