package broker

import (
	"context"
	"errors"

	"pitboss/internal/event"
	"pitboss/internal/telemetry"
)

// traced gives a POSTed event its trace context, so that all its deliveries and
// retries are in one trace. header is the request's traceparent. The caller calls end
// when the event is in the log or refused.
func (m *message) traced(ctx context.Context, header string) (end func(error)) {
	before := m.attribute(event.ExtTraceparent)
	if v, ok := telemetry.Traceparent(before, header, m.attribute("source"), m.attribute("id")); ok {
		if v != before {
			m.drop(event.ExtTraceparent)
			m.set(event.ExtTraceparent, v)
		}
		return func(error) {}
	}
	e := m.event()
	telemetry.Adopt(&e, header)
	accepted := telemetry.Accept(ctx, "broker", &e)
	if v, _ := e.Context.GetExtension(event.ExtTraceparent); v != nil && v != before {
		m.drop(event.ExtTraceparent)
		m.set(event.ExtTraceparent, v.(string))
	}
	return func(err error) {
		var refused *refusal
		if errors.As(err, &refused) {
			err = event.Permanent(err)
		}
		accepted(err)
	}
}
