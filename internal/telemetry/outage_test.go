package telemetry_test

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
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

// A second cause is logged, too, and only once, however often the two alternate. Redis gives
// other ports with each attempt, which are no cause.
func TestAnOutageIsLoggedOncePerCause(t *testing.T) {
	t.Parallel()
	core, lines := observer.New(zap.DebugLevel)
	var o telemetry.Outage
	for i := range 60 {
		err := fmt.Errorf("read 127.0.0.1:%d: %w", 40000+i, syscall.ECONNREFUSED)
		if i >= 30 && i%2 == 0 {
			err = errors.New("LOADING Redis is loading the dataset in memory")
		}
		o.Note(zap.New(core), "reminders wait", time.Unix(int64(i), 0), err)
	}
	o.Note(zap.New(core), "reminders wait", time.Unix(60, 0), nil)
	var got []string
	for _, l := range lines.All() {
		text, _ := l.ContextMap()["error"].(string)
		got = append(got, l.Message+": "+text)
	}
	want := []string{"reminders wait: read 127.0.0.1:40000: connection refused",
		"reminders wait: LOADING Redis is loading the dataset in memory", "recovered: reminders wait: "}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Errors that all differ do not fill the log.
func TestAnOutageWithManyCausesIsLoggedAFewTimes(t *testing.T) {
	t.Parallel()
	core, lines := observer.New(zap.DebugLevel)
	var o telemetry.Outage
	for i := range 100 {
		o.Note(zap.New(core), "reminders wait", time.Unix(int64(i), 0), fmt.Errorf("attempt %d", i))
	}
	if n := lines.Len(); n != 5 {
		t.Errorf("%d lines, want 5", n)
	}
}
