package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	funchttp "knative.dev/func-go/http"

	"pitboss/functions"
	"pitboss/test/redistest"
)

// TestMain lets a test run this binary as what is deployed: the command line,
// or one function in func-go's own server.
func TestMain(m *testing.M) {
	switch os.Getenv("PITBOSS_TEST_AS") {
	case "pitboss":
		main()
	case "function":
		f, err := functions.New(os.Getenv("FUNCTION_TARGET"))
		if err == nil {
			err = funchttp.Start(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// deployment is Broker and functions as processes of their own, with a
// consuming team, a redis-server and an OpenTelemetry collector.
type deployment struct {
	t       *testing.T
	dir     string
	redis   *redistest.Server
	spans   *spanStore
	team    *team
	broker  string            // URL
	urls    map[string]string // of functions
	metrics map[string]string // function → host:port of its /metrics
	serving string            // score's serving.yaml
}

func deploy(t *testing.T, env ...string) *deployment {
	t.Helper()
	if os.Getenv("ONNXRUNTIME_LIB") == "" {
		t.Skip("ONNXRUNTIME_LIB is not set: make test sets it (scripts/onnxruntime.sh)")
	}
	d := &deployment{t: t, dir: t.TempDir(), redis: redistest.New(t, "--appendonly", "yes"), urls: map[string]string{}, metrics: map[string]string{}}
	d.spans, d.team = newSpanStore(t), newTeam(t)
	serving, err := os.ReadFile("../../models/serving.yaml")
	if err == nil {
		d.serving = filepath.Join(d.dir, "serving.yaml")
		err = os.WriteFile(d.serving, serving, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	d.broker = "http://" + addr
	services := []string{"pitboss-local-consumer=" + d.team.server.URL}
	for _, name := range functions.Names() {
		listen := freeAddr(t)
		d.urls[name], d.metrics[name] = "http://"+listen, freeAddr(t)
		services = append(services, "pitboss-"+name+"="+d.urls[name])
		d.start(name, nil, append(env, "PITBOSS_TEST_AS=function", "FUNCTION_TARGET="+name, "LISTEN_ADDRESS="+listen, "METRICS_ADDR="+d.metrics[name],
			"REDIS_URL="+d.redis.URL(), "MODELS_DIR=../../models", "SERVING_FILE="+d.serving, "MODELS_POLL=100ms", "K_SINK="+d.broker,
			"BROKER_ADMIN_URL="+d.broker, "TIMER_EVERY=50ms", "ORT_DISABLE_TELEMETRY=1", "K_REVISION=pitboss-"+name+"-00001")...)
	}
	d.start("broker", []string{"broker", "--addr", addr, "--data", filepath.Join(d.dir, "broker"), "--broker", "../base/broker.yaml",
		"--triggers", "../../triggers,triggers", "--service", strings.Join(services, ",")}, "PITBOSS_TEST_AS=pitboss")
	d.await("the Broker is up", func() bool { return answers(d.broker + "/healthz") })
	for name, url := range d.urls {
		d.await(name+" is ready", func() bool { return answers(url + "/health/readiness") })
	}
	return d
}

// start runs one process of ours; its standard error goes to <dir>/<name>.log.
func (d *deployment) start(name string, args []string, env ...string) {
	d.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), "LOG_LEVEL=debug", "OTEL_EXPORTER_OTLP_ENDPOINT="+d.spans.server.URL,
		"OTEL_TRACES_SAMPLER_ARG=1", "OTEL_BSP_SCHEDULE_DELAY=50"), env...)
	d.run(name, cmd, syscall.SIGTERM)
}

// run starts cmd and ends it with the test.
func (d *deployment) run(name string, cmd *exec.Cmd, end syscall.Signal) {
	d.t.Helper()
	log, err := os.Create(d.logFile(name))
	if err != nil {
		d.t.Fatal(err)
	}
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		_ = cmd.Process.Signal(end)
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		log.Close()
		if d.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			d.t.Logf("%s:\n%s", name, text[max(0, len(text)-3000):])
		}
	})
}

func (d *deployment) logFile(name string) string { return filepath.Join(d.dir, name+".log") }

func (d *deployment) await(what string, ok func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("not after three minutes: %s", what)
		}
	}
}

func answers(url string) bool {
	res, err := http.Get(url)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// post sends e in binary mode, with the HTTP headers given as name, value, …
func (d *deployment) post(url string, e *ce.Event, headers ...string) {
	d.t.Helper()
	req, err := cehttp.NewHTTPRequestFromEvent(context.Background(), url, *e)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusAccepted {
		d.t.Fatalf("%s answered %s: %s", url, res.Status, body)
	}
}

// team is a consuming team: it keeps what its Triggers bring.
type team struct {
	server *httptest.Server
	mu     sync.Mutex
	got    []*ce.Event
	refuse map[string]int // player → deliveries of recommendations still to be answered 503
}

func newTeam(t *testing.T) *team {
	c := &team{refuse: map[string]int{}}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got = append(c.got, e)
		if strings.HasPrefix(e.Type(), "pitboss.recommendation.") && c.refuse[e.Subject()] > 0 {
			c.refuse[e.Subject()]--
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(c.server.Close)
	return c
}

// decisions are the deliveries of decisions about a player.
func (c *team) decisions(player string) (out []*ce.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.got {
		if e.Subject() == player && strings.HasPrefix(e.Type(), "pitboss.recommendation.") {
			out = append(out, e)
		}
	}
	return out
}

// span is one as the collector got it, with its service.
type span struct {
	*otlp.Span
	service  string
	resource map[string]string
	attrs    map[string]string
}

func (s *span) id() string     { return hex.EncodeToString(s.SpanId) }
func (s *span) parent() string { return hex.EncodeToString(s.ParentSpanId) }

// spanStore is an OpenTelemetry collector: OTLP over HTTP, protobuf.
type spanStore struct {
	server *httptest.Server
	mu     sync.Mutex
	spans  map[string][]*span // by trace id
	raw    []byte             // all that came in
}

func newSpanStore(t *testing.T) *spanStore {
	c := &spanStore{spans: map[string][]*span{}}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &req)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("collector: %s %s: %v", r.URL.Path, r.Header.Get("Content-Type"), err)
		}
		c.keep(&req, body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.server.Close)
	return c
}

func (c *spanStore) keep(req *collector.ExportTraceServiceRequest, raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, raw...)
	for _, rs := range req.ResourceSpans {
		of := map[string]string{}
		for _, a := range rs.Resource.Attributes {
			of[a.Key] = a.Value.GetStringValue()
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				attrs := map[string]string{}
				for _, a := range s.Attributes {
					attrs[a.Key] = a.Value.GetStringValue()
				}
				trace := hex.EncodeToString(s.TraceId)
				c.spans[trace] = append(c.spans[trace], &span{Span: s, service: of["service.name"], resource: of, attrs: attrs})
			}
		}
	}
}

func (c *spanStore) of(trace string) []*span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*span(nil), c.spans[trace]...)
}

// names is every span of the trace as "service name", in the order of start.
func (c *spanStore) names(trace string) string {
	var out []string
	for _, s := range c.of(trace) {
		out = append(out, fmt.Sprintf("%s: %s (%s)", s.service, s.Name, s.Status))
	}
	return strings.Join(out, "\n")
}
