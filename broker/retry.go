package broker

import (
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/rickb777/date/period"

	"pitboss/broker/spec"
)

// servingTimeout limits an attempt if the delivery spec sets no timeout. In a
// cluster Knative Serving has this limit (timeoutSeconds).
const servingTimeout = 5 * time.Minute

// retries holds the part of a delivery spec that concerns failed attempts. The rules
// are those of Knative's dispatcher (knative.dev/eventing/pkg/kncloudevents). The
// Broker does not import it, because it depends on Kubernetes' client; a test
// compares the two.
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

// again reports whether Knative would retry after this answer or error.
func again(a answer, err error) bool {
	switch a.status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	}
	return err != nil || a.status >= 500
}

// pause returns how long to wait before the next attempt, after done retries.
func (r *retries) pause(done int) time.Duration {
	factor := float64(done) // linear backoff makes the first retry at once, as Knative does
	if r.exponential {
		factor = math.Exp2(float64(done))
	}
	return time.Duration(min(float64(r.delay)*factor, math.MaxInt64/2))
}
