package broker

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/eventing/pkg/kncloudevents"
	"pgregory.net/rapid"

	"pitboss/broker/spec"
)

// What a delivery spec means for the attempts is what Knative's dispatcher
// makes of it.
func TestRetriesAreKnatives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var ours spec.Delivery
		var theirs eventingduckv1.DeliverySpec
		if rapid.Bool().Draw(t, "has retry") {
			n := int32(rapid.IntRange(0, 20).Draw(t, "retry"))
			ours.Retry, theirs.Retry = &n, &n
		}
		if rapid.Bool().Draw(t, "has policy") {
			p := rapid.SampledFrom([]string{"linear", "exponential"}).Draw(t, "policy")
			ours.BackoffPolicy, theirs.BackoffPolicy = &p, (*eventingduckv1.BackoffPolicyType)(&p)
		}
		if rapid.Bool().Draw(t, "has delay") {
			d := rapid.SampledFrom([]string{"PT0S", "PT0.2S", "PT1S", "P1D", "PT1M0.5S", "1s", ""}).Draw(t, "delay")
			ours.BackoffDelay, theirs.BackoffDelay = &d, &d
		}
		want, wantErr := kncloudevents.RetryConfigFromDeliverySpec(theirs)
		got, err := retriesOf(ours)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, Knative's %v", err, wantErr)
		}
		if err != nil {
			return
		}
		status := rapid.IntRange(100, 599).Draw(t, "status")
		resp := &http.Response{StatusCode: status}
		n := rapid.IntRange(0, 12).Draw(t, "retries so far")
		if knatives := want.Backoff(n, resp); got.most != want.RetryMax || got.pause(n) != knatives {
			t.Fatalf("%d retries, pause %d is %s; Knative's %d and %s", got.most, n, got.pause(n), want.RetryMax, knatives)
		}
		knatives, _ := kncloudevents.SelectiveRetry(context.Background(), resp, nil)
		if got := again(answer{status: status}, nil); got != knatives {
			t.Fatalf("%d is tried again: %v, Knative says %v", status, got, knatives)
		}
	})
	if knatives, _ := kncloudevents.SelectiveRetry(context.Background(), nil, nil); !knatives || !again(answer{}, context.DeadlineExceeded) {
		t.Error("no answer is tried again")
	}
	r := retries{delay: time.Hour, exponential: true}
	if got := r.pause(1000); got < time.Hour {
		t.Errorf("the thousandth pause is %s", got)
	}
}

// An attempt ends at the time-out though the function goes on; what the function
// answers then is dropped.
func TestAnAttemptEndsAtItsTimeOut(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	var calls atomic.Int32
	p := newInProcess("p", func(ctx context.Context, _ *ce.Event) (*ce.Event, int, string) {
		n := calls.Add(1)
		if n == 1 {
			<-ctx.Done()
			<-end
		}
		return nil, http.StatusAccepted + int(n), ""
	}, 1<<20, zap.NewNop())
	m, err := readHTTP(headers("Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Type", "t", "Ce-Source", "/s"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := retries{timeout: 20 * time.Millisecond}
	if a, err := attempt(t.Context(), p, &r, m); !errors.Is(err, context.DeadlineExceeded) || !again(a, err) {
		t.Errorf("the first attempt: %+v, %v", a, err)
	}
	if n := p.running.Load(); n != 1 {
		t.Errorf("%d calls under way, want the first", n)
	}
	close(end)
	r.timeout = time.Minute
	if a, err := attempt(t.Context(), p, &r, m); err != nil || a.status != http.StatusAccepted+2 {
		t.Errorf("the second attempt: %+v, %v", a, err)
	}
	p.close(t.Context())
	if n := p.running.Load(); n != 0 {
		t.Errorf("%d calls under way after close", n)
	}
}

// A function that ignores its context holds up neither its own event nor others,
// though there is but one worker; what it answers too late is dropped.
func TestAFunctionThatIgnoresItsContextIsLeftBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"broker.yaml": "kind: Broker\nmetadata: {name: pitboss}\nspec: {delivery: {retry: 2, backoffPolicy: linear, backoffDelay: PT0.01S}}\n",
		"asks.yaml":   "kind: Trigger\nmetadata: {name: asks}\nspec: {broker: pitboss, filter: {attributes: {type: question}}, subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: asks}}}\n",
		"team.yaml":   "kind: Trigger\nmetadata: {name: team}\nspec: {broker: pitboss, filter: {attributes: {type: answer}}, subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: team}}}\n",
	} {
		folder := filepath.Join(dir, map[bool]string{true: "", false: "triggers"}[name == "broker.yaml"])
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, name), []byte("apiVersion: eventing.knative.dev/v1\n"+text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	end := make(chan struct{})
	var calls atomic.Int32
	answers := make(chan string, 10)
	functions := map[string]Function{
		"asks": func(_ context.Context, e *ce.Event) (*ce.Event, int, string) {
			e.SetType("answer")
			if e.ID() == "stuck" && calls.Add(1) == 1 {
				<-end
				e.SetID("late")
			}
			return e, http.StatusOK, ""
		},
		"team": func(_ context.Context, e *ce.Event) (*ce.Event, int, string) {
			answers <- e.ID()
			return nil, http.StatusOK, ""
		},
	}
	b, err := Open(Config{DataDir: filepath.Join(dir, "log"), BrokerFile: filepath.Join(dir, "broker.yaml"), TriggerDirs: []string{filepath.Join(dir, "triggers")},
		Parallel: 1, Function: func(service string) (Function, bool) { f, ok := functions[service]; return f, ok }})
	if err != nil {
		t.Fatal(err)
	}
	b.trigger("asks").retries.timeout = 100 * time.Millisecond // a manifest cannot say it: Knative leaves that feature off
	for _, id := range []string{"stuck", "next"} {
		m, err := readHTTP(headers("Ce-Specversion", "1.0", "Ce-Id", id, "Ce-Type", "question", "Ce-Source", "/s"), nil)
		if err == nil {
			err = b.accept(m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Quiet(t.Context()); err != nil { // while the first call goes on
		t.Fatal(err)
	}
	close(end)
	if err := b.Drain(t.Context()); err != nil { // waits for it
		t.Fatal(err)
	}
	close(answers)
	got := map[string]int{}
	for id := range answers {
		got[id]++
	}
	if len(got) != 2 || got["stuck"] != 1 || got["next"] != 1 || calls.Load() != 2 {
		t.Errorf("answers %v after %d calls of the first, want one to each event and two calls", got, calls.Load())
	}
}
