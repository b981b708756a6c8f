package telemetry

import (
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Outage logs the state of work that is repeated: a warning when it begins to fail, another
// for each further cause, and one line when it succeeds again. A loop that logged every
// attempt would write a line a second for as long as Redis is down. The zero value is ready
// to use. It belongs to one goroutine.
type Outage struct {
	since  time.Time
	causes []string // that were logged; empty: there is no outage
}

// causesMost bounds the warnings of an outage: the text of some errors is never the same.
const causesMost = 5

// Note takes the result of an attempt made at now. what names the consequence of
// a failure, for the log.
func (o *Outage) Note(log *zap.Logger, what string, now time.Time, err error) {
	if err == nil {
		if len(o.causes) > 0 {
			log.Info("recovered: "+what, zap.Duration("after", now.Sub(o.since)))
			o.causes = nil
		}
		return
	}
	if len(o.causes) == 0 {
		o.since = now
	}
	if c := cause(err); len(o.causes) < causesMost && !slices.Contains(o.causes, c) {
		o.causes = append(o.causes, c)
		log.Warn(what, zap.Error(err))
	}
}

// cause returns the text of the innermost error. What is around it may differ from attempt
// to attempt, such as the port of a connection.
func cause(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}
