package broker

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/rickb777/date/period"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
)

// servingTimeout ends an attempt where the delivery spec sets no limit: in a
// cluster Knative Serving does so after this long (timeoutSeconds).
const servingTimeout = 5 * time.Minute

// retries is what a delivery spec says about failed attempts. The rules are
// those of Knative's dispatcher (knative.dev/eventing/pkg/kncloudevents), which
// the Broker does not contain because it brings Kubernetes' client with it; a
// test holds the two against each other.
type retries struct {
	most          int // attempts after the first
	delay         time.Duration
	exponential   bool
	timeout       time.Duration  // of one attempt
	maxRetryAfter *time.Duration // nil: Retry-After is ignored
}

func retriesOf(spec eventingduckv1.DeliverySpec) (r retries, err error) {
	r.timeout = servingTimeout
	if spec.Retry != nil {
		r.most = int(*spec.Retry)
	}
	if spec.BackoffPolicy != nil && spec.BackoffDelay != nil {
		if r.delay, err = duration("backoffDelay", *spec.BackoffDelay); err != nil {
			return r, err
		}
		r.exponential = *spec.BackoffPolicy == eventingduckv1.BackoffPolicyExponential
	}
	if spec.Timeout != nil {
		if r.timeout, err = duration("timeout", *spec.Timeout); err != nil {
			return r, err
		}
		if r.timeout == 0 {
			r.timeout = servingTimeout
		}
	}
	if spec.RetryAfterMax != nil {
		d, err := duration("retryAfterMax", *spec.RetryAfterMax)
		if err != nil {
			return r, err
		}
		r.maxRetryAfter = &d
	}
	return r, nil
}

func duration(field, iso8601 string) (time.Duration, error) {
	p, err := period.Parse(iso8601)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", field, err)
	}
	d, _ := p.Duration()
	return d, nil
}

// again says whether an answer, or none, is worth another attempt.
func again(a answer, err error) bool {
	switch a.status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	}
	return err != nil || a.status >= 500
}

// pause is how long to wait before the next attempt; done counts the retries so far.
func (r *retries) pause(done int, a answer) time.Duration {
	factor := float64(done) // Knative's linear backoff begins with no pause
	if r.exponential {
		factor = math.Exp2(float64(done))
	}
	pause := time.Duration(min(float64(r.delay)*factor, math.MaxInt64/2))
	if r.maxRetryAfter != nil && (a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable) {
		pause = max(pause, min(retryAfter(a.header), *r.maxRetryAfter))
	}
	return pause
}

// retryAfter reads the Retry-After header: seconds or a date; 0 for neither.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return time.Until(at)
	}
	return 0
}
