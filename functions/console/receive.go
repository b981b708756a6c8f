package console

import (
	"net/http"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/go-json-experiment/json"

	"pitboss/internal/event"
	"pitboss/internal/telemetry"
)

// maxBody is the most that one event may weigh: data of event.MaxData, and a
// scored event with its features, ranking and contributions around it.
const maxBody = 512 << 10

// seen is an event as the console keeps it: attributes read, data still raw.
type seen struct {
	Type, Source, ID, Player string
	Time                     time.Time // when it happened
	Received                 time.Time // when the Broker took the platform's event; zero: unknown
	Arrived                  time.Time // when the Broker took this event; zero: unknown
	At                       time.Time // when the console got it
	Trace                    string
	Jurisdiction             string
	Data                     []byte
}

// receive takes one event from a Trigger.
func (f *Function) receive(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	s, status, why := f.read(w, r)
	if status != 0 {
		telemetry.Refused(name, "", time.Since(began))
		http.Error(w, why, status)
		return
	}
	f.note(s)
	telemetry.Done(name, s.Type, time.Since(began))
	w.WriteHeader(http.StatusAccepted)
}

// read parses binary mode by hand, since it runs for every event; structured
// mode goes through the SDK.
func (f *Function) read(w http.ResponseWriter, r *http.Request) (s *seen, status int, why string) {
	now := f.now()
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	h := r.Header
	if h.Get("Ce-Specversion") == "" {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil || e.Validate() != nil {
			return nil, http.StatusBadRequest, "console: not a CloudEvent"
		}
		return fromEvent(e, now), 0, ""
	}
	s = &seen{
		Type: h.Get("Ce-Type"), Source: h.Get("Ce-Source"), ID: h.Get("Ce-Id"), Player: h.Get("Ce-Subject"),
		Time: stamp(h.Get("Ce-Time")), Received: stamp(h.Get("Ce-" + event.ExtReceived)), Arrived: stamp(h.Get("Ce-Knativearrivaltime")),
		Trace: h.Get("Ce-Traceparent"), Jurisdiction: h.Get("Ce-" + event.ExtJurisdiction), At: now,
	}
	if s.Type == "" || s.Source == "" || s.ID == "" {
		return nil, http.StatusBadRequest, "console: not a CloudEvent: type, source and id are required"
	}
	var err error
	if s.Data, err = event.ReadBody(w, r, maxBody); err != nil {
		return nil, http.StatusBadRequest, "console: body: " + err.Error()
	}
	return s, 0, ""
}

func fromEvent(e *ce.Event, now time.Time) *seen {
	text := func(name string) string { s, _ := e.Extensions()[name].(string); return s }
	return &seen{
		Type: e.Type(), Source: e.Source(), ID: e.ID(), Player: e.Subject(), Time: e.Time(),
		Received: stamp(text(event.ExtReceived)), Arrived: stamp(text("knativearrivaltime")),
		Trace: text(event.ExtTraceparent), Jurisdiction: text(event.ExtJurisdiction), At: now, Data: e.Data(),
	}
}

func stamp(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// note counts the event and remembers it where somebody may look for it. A
// redelivered event is counted once.
func (f *Function) note(s *seen) {
	if !f.flow.count(s) {
		return
	}
	switch s.Type {
	case event.TypeRecommendation, event.TypeSuppressed, event.TypeRevoked:
		if d := f.decisions.add(s); d != nil {
			f.flow.decided(d)
			f.experiments.decided(d)
		}
	case event.TypePrivacyErase:
		f.players.forget(s.Player)
		f.decisions.forget(s.Player)
		f.experiments.forget(s.Player)
	case event.TypePrivacyErased: // not before: the request itself may have become a dead letter
		go f.forgetDeadLetters(s.Player)
	case event.TypeDelivered, event.TypeAccepted, event.TypeDismissed, event.TypeExpired:
		var o event.Outcome
		if json.Unmarshal(s.Data, &o) == nil {
			f.experiments.happened(s, o.Recommendation)
		}
	case event.TypeReviewDecided, event.TypeReviewRequested:
		f.heard(s)
	case event.TypeRoundSettled:
		f.experiments.happened(s, "")
	}
	if s.Type != event.TypePrivacyErase && s.Type != event.TypePrivacyErased && s.Type != event.TypeSwitchTurned && s.Player != "" {
		f.players.add(s)
	}
}
