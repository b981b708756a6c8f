package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"go.uber.org/zap"

	"pitboss/broker"
)

// subscriber is an HTTP server that records the events it gets and answers as
// it is told.
type subscriber struct {
	*httptest.Server
	mu     sync.Mutex
	got    []ce.Event
	seen   chan ce.Event
	answer func(w http.ResponseWriter, e ce.Event, nth int)
}

func newSubscriber(t testing.TB, answer func(w http.ResponseWriter, e ce.Event, nth int)) *subscriber {
	s := &subscriber{seen: make(chan ce.Event, 10000), answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if errors.Is(err, net.ErrClosed) {
			return // the test closed it
		}
		if err != nil {
			t.Errorf("subscriber got no CloudEvent: %v", err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.got = append(s.got, *e)
		n := len(s.got)
		s.mu.Unlock()
		if s.answer != nil {
			s.answer(w, *e, n)
		}
		s.seen <- *e
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *subscriber) events() []ce.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]ce.Event(nil), s.got...)
}

// reply answers with the event.
func reply(w http.ResponseWriter, typ, id string) {
	w.Header().Set("Ce-Specversion", "1.0")
	w.Header().Set("Ce-Type", typ)
	w.Header().Set("Ce-Source", "/test")
	w.Header().Set("Ce-Id", id)
	w.WriteHeader(http.StatusOK)
}

// spec is one Trigger of a test.
type spec struct {
	name   string
	filter string // YAML under spec:, two spaces in
	to     *subscriber
	f      broker.Function // instead of to: in the Broker's process
}

func (s spec) subscriber(name string) string {
	if s.f != nil {
		return "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: pitboss-" + name + "}}"
	}
	return `{uri: "` + s.to.URL + `/"}`
}

const fastBroker = `apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: pitboss}
spec:
  delivery: {retry: 2, backoffPolicy: linear, backoffDelay: PT0.01S}
`

type options struct {
	dir    string
	broker string
	config func(*broker.Config)
}

// open starts a Broker with these Triggers; dir "" is a new folder.
func open(t testing.TB, o options, specs ...spec) *broker.Broker {
	t.Helper()
	conf := t.TempDir()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	if o.broker == "" {
		o.broker = fastBroker
	}
	write(t, filepath.Join(conf, "broker.yaml"), o.broker)
	triggers := filepath.Join(conf, "triggers")
	if err := os.MkdirAll(triggers, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		name, _, _ := strings.Cut(s.name, ",") // what follows is more of metadata
		write(t, filepath.Join(triggers, name+".yaml"), fmt.Sprintf(`apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: %s}
spec:
  broker: pitboss
%s  subscriber: %s
`, s.name, s.filter, s.subscriber(name)))
	}
	cfg := broker.Config{DataDir: o.dir, BrokerFile: filepath.Join(conf, "broker.yaml"), TriggerDirs: []string{triggers}, Logger: zap.NewNop(),
		Function: func(service string) (broker.Function, bool) {
			for _, s := range specs {
				if s.f != nil && service == "pitboss-"+s.name {
					return s.f, true
				}
			}
			return nil, false
		}}
	if o.config != nil {
		o.config(&cfg)
	}
	b, err := broker.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	go b.Serve()
	t.Cleanup(func() { drain(t, b) })
	return b
}

func drain(t testing.TB, b *broker.Broker) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Drain(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func quiet(t testing.TB, b *broker.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.Quiet(ctx); err != nil {
		t.Fatal(err)
	}
}

// post sends an event in binary mode and returns the status and body.
func post(t testing.TB, url, typ, id string, headers ...string) (int, string) {
	t.Helper()
	req, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(`{"a":1}`))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Ce-Specversion", "1.0")
	req.Header.Set("Ce-Type", typ)
	req.Header.Set("Ce-Source", "/test")
	req.Header.Set("Ce-Id", id)
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
		} else {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	return do(t, req)
}

func do(t testing.TB, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func TestEventReachesTheTriggersItMatches(t *testing.T) {
	t.Parallel()
	all, one, other := newSubscriber(t, nil), newSubscriber(t, nil), newSubscriber(t, nil)
	b := open(t, options{}, spec{name: "all", to: all},
		spec{name: "one", filter: "  filter: {attributes: {type: a.b}}\n", to: one},
		spec{name: "other", filter: "  filter: {attributes: {type: a.c}}\n", to: other})
	if code, body := post(t, b.URL(), "a.b", "1"); code != http.StatusAccepted {
		t.Fatalf("POST: %d %s", code, body)
	}
	quiet(t, b)
	if n := len(all.events()); n != 1 {
		t.Errorf("Trigger without a filter: %d events, want 1", n)
	}
	if n := len(one.events()); n != 1 {
		t.Errorf("Trigger on the type: %d events, want 1", n)
	}
	if n := len(other.events()); n != 0 {
		t.Errorf("Trigger on another type: %d events, want none", n)
	}
	got := one.events()[0]
	if got.ID() != "1" || got.Source() != "/test" || string(got.Data()) != `{"a":1}` || got.DataContentType() != "application/json" {
		t.Errorf("event changed on the way: %v", got)
	}
	if _, ok := got.Extensions()["knativebrokerttl"]; ok {
		t.Error("the subscriber sees knativebrokerttl")
	}
	if _, ok := got.Extensions()["knativearrivaltime"]; !ok {
		t.Error("knativearrivaltime is missing")
	}
}

func TestReplyGoesBackIn(t *testing.T) {
	t.Parallel()
	first := newSubscriber(t, func(w http.ResponseWriter, e ce.Event, _ int) { reply(w, "second", "r-"+e.ID()) })
	second := newSubscriber(t, nil)
	b := open(t, options{}, spec{name: "first", filter: "  filter: {attributes: {type: first}}\n", to: first},
		spec{name: "second", filter: "  filter: {attributes: {type: second}}\n", to: second})
	post(t, b.URL(), "first", "1")
	quiet(t, b)
	if got := second.events(); len(got) != 1 || got[0].ID() != "r-1" {
		t.Fatalf("second got %v, want the reply r-1", got)
	}
}

func TestReplyLoopEnds(t *testing.T) {
	t.Parallel()
	loop := newSubscriber(t, func(w http.ResponseWriter, e ce.Event, n int) { reply(w, "loop", fmt.Sprint(n)) })
	b := open(t, options{}, spec{name: "loop", to: loop})
	post(t, b.URL(), "loop", "0", "Ce-Knativebrokerttl", "4")
	quiet(t, b)
	// Ingress makes it 3; the replies have 2 and 1; the next would have 0.
	if n := len(loop.events()); n != 3 {
		t.Errorf("delivered %d times, want 3", n)
	}
	letters, err := b.DeadLetters.List(context.Background(), "", 10)
	if err != nil || len(letters) != 1 || letters[0].Code != 400 || !strings.Contains(letters[0].Reason, "loop of replies") {
		t.Errorf("dead letters: %+v %v, want one that names the loop", letters, err)
	}
}

func TestUsedUpTTLIsRefused(t *testing.T) {
	t.Parallel()
	b := open(t, options{}, spec{name: "all", to: newSubscriber(t, nil)})
	for _, ttl := range []string{"1", "0", "-3"} {
		if code, _ := post(t, b.URL(), "x", "1", "Ce-Knativebrokerttl", ttl); code != http.StatusBadRequest {
			t.Errorf("TTL %s: %d, want 400", ttl, code)
		}
	}
}

func TestRetriesThenDeadLetter(t *testing.T) {
	t.Parallel()
	down := newSubscriber(t, func(w http.ResponseWriter, _ ce.Event, _ int) { http.Error(w, "no", http.StatusServiceUnavailable) })
	b := open(t, options{}, spec{name: "down", to: down})
	post(t, b.URL(), "x", "1")
	quiet(t, b)
	if n := len(down.events()); n != 3 {
		t.Errorf("%d attempts, want 3 (retry: 2)", n)
	}
	letters, _ := b.DeadLetters.List(context.Background(), "", 10)
	if len(letters) != 1 || letters[0].Code != 503 || letters[0].Reason != "no\n" || letters[0].Attempts != 3 || letters[0].Trigger != "down" {
		t.Fatalf("dead letters %+v", letters)
	}
	if letters[0].Event.Extensions()["knativeerrorcode"] != "503" {
		t.Errorf("extensions %v", letters[0].Event.Extensions())
	}
}

func TestPermanentErrorIsNotRetried(t *testing.T) {
	t.Parallel()
	bad := newSubscriber(t, func(w http.ResponseWriter, _ ce.Event, n int) {
		if n == 1 {
			http.Error(w, "unknown-type", 400)
		}
	})
	b := open(t, options{}, spec{name: "bad", to: bad})
	post(t, b.URL(), "x", "1")
	quiet(t, b)
	letters, _ := b.DeadLetters.List(context.Background(), "", 10)
	if len(bad.events()) != 1 || len(letters) != 1 || letters[0].Reason != "unknown-type\n" {
		t.Fatalf("%d attempts, dead letters %+v", len(bad.events()), letters)
	}
	// Mended now: the replay goes to this Trigger and the letter is gone.
	if err := b.DeadLetters.Replay(context.Background(), letters[0].ID); err != nil {
		t.Fatal(err)
	}
	quiet(t, b)
	got := bad.events()
	if len(got) != 2 || got[1].ID() != "1" || got[1].Extensions()["knativeerrorcode"] != nil {
		t.Errorf("after replay: %v", got)
	}
	if letters, _ = b.DeadLetters.List(context.Background(), "", 10); len(letters) != 0 {
		t.Errorf("still kept: %+v", letters)
	}
}

func TestReplyThatIsNoEventIsRetriedAs502(t *testing.T) {
	t.Parallel()
	odd := newSubscriber(t, func(w http.ResponseWriter, _ ce.Event, _ int) { io.WriteString(w, "hello") })
	b := open(t, options{}, spec{name: "odd", to: odd})
	post(t, b.URL(), "x", "1")
	quiet(t, b)
	letters, _ := b.DeadLetters.List(context.Background(), "", 10)
	if len(odd.events()) != 3 || len(letters) != 1 || letters[0].Code != 502 {
		t.Fatalf("%d attempts, dead letters %+v", len(odd.events()), letters)
	}
}

func TestDrainKeepsWhatIsNotDelivered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	down := newSubscriber(t, func(w http.ResponseWriter, _ ce.Event, _ int) { w.WriteHeader(503) })
	slow := strings.Replace(fastBroker, "PT0.01S", "PT60S", 1)
	b := open(t, options{dir: dir, broker: slow}, spec{name: "t", to: down})
	post(t, b.URL(), "x", "1")
	<-down.seen // first attempt; the first retry of a linear backoff is immediate
	<-down.seen
	drain(t, b)
	up := newSubscriber(t, nil)
	b = open(t, options{dir: dir}, spec{name: "t", to: up})
	quiet(t, b)
	if n := len(up.events()); n != 1 {
		t.Errorf("%d events after the restart, want 1", n)
	}
}

func TestOneProcessPerDataFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, options{dir: dir})
	conf := filepath.Join(t.TempDir(), "broker.yaml")
	write(t, conf, fastBroker)
	if _, err := broker.Open(broker.Config{DataDir: dir, BrokerFile: conf}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second open: %v, want in use", err)
	}
}
