package policy

import (
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/event"
)

// Overturned returns the event that revokes an issued recommendation because a person
// overturned it. from is its sender (console, cli). It carries the attributes of the
// recommendation, so that the same Triggers match it. Its id is derived from the
// decision: when it is sent again, it is recognised as a duplicate.
func Overturned(from, player string, of event.Recommendation, note string, at time.Time) (*ce.Event, error) {
	of.Revoked = []string{of.Decision}
	of.Reasons = append([]event.Reason{{Code: "overturned", Text: note}}, of.Reasons...)
	e, err := event.New(from, event.TypeRevoked, player, event.ReplyID(event.SourceOf(from), of.Decision, event.TypeRevoked), at, of)
	if err != nil {
		return nil, err
	}
	SetAttributes(e, &of)
	return e, nil
}

// SetAttributes sets the extension attributes that consuming teams' Triggers filter
// recommendations by. Empty ones are left out.
func SetAttributes(e *ce.Event, of *event.Recommendation) {
	for _, a := range [...][2]string{{event.ExtAction, of.Action}, {event.ExtKind, of.Kind}, {event.ExtChannel, of.Channel},
		{event.ExtSeverity, of.Severity}, {event.ExtArm, of.Arm}} {
		if a[1] != "" {
			e.SetExtension(a[0], a[1])
		}
	}
	if of.Review {
		e.SetExtension(event.ExtReview, "true")
	}
	if !of.Expires.IsZero() {
		e.SetExtension(event.ExtExpiry, of.Expires.Format(time.RFC3339Nano))
	}
}
