package telemetry_test

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"pitboss/internal/telemetry"
)

// However long an outage lasts, it makes two lines: one at its beginning, with the
// error, and one at its end.
func TestAnOutageIsLoggedWhenItBeginsAndWhenItEnds(t *testing.T) {
	t.Parallel()
	core, lines := observer.New(zap.DebugLevel)
	var o telemetry.Outage
	now := time.Unix(0, 0)
	for i := range 120 {
		var err error
		if i >= 20 && i < 80 {
			err = errors.New("connection refused")
		}
		o.Note(zap.New(core), "reminders wait", now, err)
		now = now.Add(time.Second)
	}
	all := lines.All()
	if len(all) != 2 {
		t.Fatalf("%d lines, want 2: %v", len(all), all)
	}
	if all[0].Level != zap.WarnLevel || all[0].Message != "reminders wait" || all[0].ContextMap()["error"] != "connection refused" {
		t.Errorf("the first line is %v", all[0])
	}
	if all[1].Message != "recovered: reminders wait" || all[1].ContextMap()["after"] != time.Minute {
		t.Errorf("the last line is %v", all[1])
	}
}
