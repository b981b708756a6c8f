package broker

import (
	"context"
	"errors"
	"net/http"
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
