package broker

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/eventing/pkg/kncloudevents"
	"pgregory.net/rapid"
)

// What a delivery spec means for the attempts is what Knative's dispatcher
// makes of it.
func TestRetriesAreKnatives(t *testing.T) {
	t.Parallel()
	durations := []string{"PT0S", "PT0.2S", "PT1S", "P1D", "PT1M0.5S", "1s", ""}
	rapid.Check(t, func(t *rapid.T) {
		var spec eventingduckv1.DeliverySpec
		if rapid.Bool().Draw(t, "has retry") {
			n := int32(rapid.IntRange(0, 20).Draw(t, "retry"))
			spec.Retry = &n
		}
		maybe := func(field string) *string {
			if !rapid.Bool().Draw(t, "has "+field) {
				return nil
			}
			v := rapid.SampledFrom(durations).Draw(t, field)
			return &v
		}
		if rapid.Bool().Draw(t, "has policy") {
			p := rapid.SampledFrom([]eventingduckv1.BackoffPolicyType{eventingduckv1.BackoffPolicyLinear, eventingduckv1.BackoffPolicyExponential}).Draw(t, "policy")
			spec.BackoffPolicy = &p
		}
		spec.BackoffDelay, spec.Timeout, spec.RetryAfterMax = maybe("delay"), maybe("timeout"), maybe("retryAfterMax")
		want, wantErr := kncloudevents.RetryConfigFromDeliverySpec(spec)
		got, err := retriesOf(spec)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, Knative's %v", err, wantErr)
		}
		if err != nil {
			return
		}
		if got.most != want.RetryMax || want.RequestTimeout != 0 && got.timeout != want.RequestTimeout || want.RequestTimeout == 0 && got.timeout != servingTimeout {
			t.Fatalf("%+v, Knative's %+v", got, want)
		}
		if (got.maxRetryAfter == nil) != (want.RetryAfterMaxDuration == nil) || got.maxRetryAfter != nil && *got.maxRetryAfter != *want.RetryAfterMaxDuration {
			t.Fatalf("at most %v after Retry-After, Knative %v", got.maxRetryAfter, want.RetryAfterMaxDuration)
		}
		status := rapid.IntRange(100, 599).Draw(t, "status")
		n := rapid.IntRange(0, 12).Draw(t, "retries so far")
		resp := &http.Response{StatusCode: status}
		if theirs := want.Backoff(n, resp); got.pause(n, answer{status: status}) != theirs {
			t.Fatalf("pause %d is %s, Knative's %s", n, got.pause(n, answer{status: status}), theirs)
		}
		theirs, _ := kncloudevents.SelectiveRetry(context.Background(), resp, nil)
		if ours := again(answer{status: status}, nil); ours != theirs {
			t.Fatalf("%d is tried again: %v, Knative says %v", status, ours, theirs)
		}
	})
	if theirs, _ := kncloudevents.SelectiveRetry(context.Background(), nil, nil); !theirs || !again(answer{}, context.DeadlineExceeded) {
		t.Error("no answer is tried again")
	}
}

func TestRetryAfterIsHonoredUpToItsLimit(t *testing.T) {
	t.Parallel()
	limit := 10 * time.Second
	at := func(v string) answer {
		return answer{status: http.StatusTooManyRequests, header: http.Header{"Retry-After": {v}}}
	}
	for v, want := range map[string]time.Duration{"3": 3 * time.Second, "60": limit, "soon": time.Second, "-1": time.Second,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): limit} {
		r := retries{delay: time.Second, maxRetryAfter: &limit}
		if got := r.pause(1, at(v)); got != want {
			t.Errorf("Retry-After: %s waits %s, want %s", v, got, want)
		}
		r.maxRetryAfter = nil // Knative ignores the header where no limit is set
		if got := r.pause(1, at(v)); got != time.Second {
			t.Errorf("Retry-After: %s without a limit waits %s", v, got)
		}
	}
	r := retries{delay: time.Hour, exponential: true}
	if got := r.pause(1000, answer{}); got < time.Hour {
		t.Errorf("the thousandth pause is %s", got)
	}
}

// An attempt ends at the time-out though the function goes on; what the function
// answers then is dropped, and its goroutine ends with the Broker.
func TestAnAttemptEndsAtItsTimeOut(t *testing.T) {
	t.Parallel()
	end, calls := make(chan struct{}), 0
	p := newInProcess("p", func(ctx context.Context, _ *ce.Event) (*ce.Event, int, string) {
		if calls++; calls == 1 {
			<-ctx.Done()
			<-end
		}
		return nil, http.StatusAccepted + calls, ""
	}, 1<<20, zap.NewNop())
	m, err := readHTTP([]string{"Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Type", "t", "Ce-Source", "/s"}, nil)
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
	for deadline := time.Now().Add(10 * time.Second); p.workers.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left", p.workers.Load())
		}
	}
}
