package broker

import (
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/rickb777/date/period"

	"pitboss/broker/spec"
)

// servingTimeout ends an attempt where the delivery spec sets no limit: in a
// cluster Knative Serving does so after this long (timeoutSeconds).
const servingTimeout = 5 * time.Minute

// retries is what a delivery spec says about failed attempts. The rules are
// those of Knative's dispatcher (knative.dev/eventing/pkg/kncloudevents), which
// the Broker does not contain because it brings Kubernetes' client with it; a
// test holds the two against each other.
type retries struct {
	most        int // attempts after the first
	delay       time.Duration
	exponential bool
	timeout     time.Duration // of one attempt
}

func retriesOf(d spec.Delivery) (r retries, err error) {
	r.timeout = servingTimeout
	if d.Retry != nil {
		r.most = int(*d.Retry)
	}
	if d.BackoffPolicy != nil && d.BackoffDelay != nil {
		p, err := period.Parse(*d.BackoffDelay)
		if err != nil {
			return r, fmt.Errorf("backoffDelay: %w", err)
		}
		r.delay, _ = p.Duration()
		r.exponential = *d.BackoffPolicy == "exponential"
	}
	return r, nil
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
func (r *retries) pause(done int) time.Duration {
	factor := float64(done) // Knative's linear backoff begins with no pause
	if r.exponential {
		factor = math.Exp2(float64(done))
	}
	return time.Duration(min(float64(r.delay)*factor, math.MaxInt64/2))
}
