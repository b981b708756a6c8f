package telemetry

import (
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"pitboss/internal/event"
)

// Fields returns the fields of a log line about an event: its type, id, source and trace,
// and the hash of its player.
func Fields(e *ce.Event) []zap.Field {
	sc, _ := traceOf(e, 0)
	return fields(e, sc)
}

func fields(e *ce.Event, sc trace.SpanContext) []zap.Field {
	out := make([]zap.Field, 0, 10)
	out = append(out, zap.String("type", e.Type()), zap.String("id", e.ID()), zap.String("source", e.Source()),
		zap.String("trace_id", sc.TraceID().String()), zap.String("span_id", sc.SpanID().String()))
	if e.Subject() != "" {
		out = append(out, zap.String("player", event.HashPlayer(e.Subject())))
	}
	return out
}

// log writes the log line about an event at a function's edge, at level debug, or as a
// warning if it failed.
func (p *part) log(log *zap.Logger, e *ce.Event, result string, took time.Duration, err error) {
	level, what := zapcore.DebugLevel, "event"
	if err != nil {
		level, what = zapcore.WarnLevel, "event failed"
	}
	line := log.Check(level, what)
	if line == nil {
		return
	}
	out := append(fields(e, p.sc), zap.String("result", result), zap.Duration("took", took))
	if err != nil {
		out = append(out, zap.Error(err))
	}
	line.Write(out...)
}
