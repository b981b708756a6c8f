package telemetry

import (
	"time"

	"go.uber.org/zap"
)

// Outage logs the state of work that is repeated: one warning when it begins to
// fail and one line when it succeeds again. A loop that logged every attempt would
// write a line a second for as long as Redis is down. The zero value is ready to
// use. It belongs to one goroutine.
type Outage struct{ since time.Time }

// Note takes the result of an attempt made at now. what names the consequence of
// a failure, for the log.
func (o *Outage) Note(log *zap.Logger, what string, now time.Time, err error) {
	switch {
	case err != nil && o.since.IsZero():
		o.since = now
		log.Warn(what, zap.Error(err))
	case err == nil && !o.since.IsZero():
		log.Info("recovered: "+what, zap.Duration("after", now.Sub(o.since)))
		o.since = time.Time{}
	}
}
