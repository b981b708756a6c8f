package console

import (
	"cmp"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/cehttp"
	"pitboss/internal/event"
	"pitboss/internal/telemetry"
)

// maxBody bounds one event in bytes. It is above event.MaxData, since a scored event
// carries features, ranking and contributions beside the data.
const maxBody = 512 << 10

// seen is an event as the console keeps it: its attributes are read, its data is raw.
type seen struct {
	Type, Source, ID, Player string
	Time                     time.Time // when it happened
	Received                 time.Time // when the Broker took the platform's event; zero: unknown
	Arrived                  time.Time // when the Broker took this event; zero: unknown
	At                       time.Time // when the console received it
	Trace                    string
	Jurisdiction, Brand      string
	Data                     []byte
}

// receive takes one event from a Trigger.
func (f *Function) receive(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	s, m, status, why := f.read(w, r)
	if status != 0 {
		if status == http.StatusInternalServerError {
			telemetry.Failed(name, "", time.Since(began))
		} else {
			telemetry.Refused(name, "", time.Since(began))
		}
		http.Error(w, why, status)
		return
	}
	f.note(s, func() bool { e := m.Event(); _, err := event.Parse(e, event.Clock(e, s.At)); return err == nil })
	telemetry.Done(name, s.Type, time.Since(began))
	w.WriteHeader(http.StatusAccepted)
}

// read reads an event in binary or structured mode. A status other than 0 refuses it,
// and why says why.
func (f *Function) read(w http.ResponseWriter, r *http.Request) (s *seen, m *cehttp.Message, status int, why string) {
	body, err := event.ReadBody(w, r, maxBody)
	if err != nil {
		return nil, nil, cehttp.Status(err), "console: body: " + err.Error()
	}
	m, err = cehttp.Read(r.Header, body)
	if err != nil {
		return nil, nil, cehttp.Status(err), "console: not a CloudEvent: " + err.Error()
	}
	return &seen{
		Type: m.Attribute("type"), Source: m.Attribute("source"), ID: m.Attribute("id"), Player: m.Attribute("subject"),
		Time: stamp(m.Attribute("time")), Received: stamp(m.Attribute(event.ExtReceived)), Arrived: stamp(m.Attribute("knativearrivaltime")),
		Trace: m.Attribute(event.ExtTraceparent), Jurisdiction: m.Attribute(event.ExtJurisdiction), Brand: m.Attribute(event.ExtBrand), At: f.now(), Data: m.Data,
	}, m, 0, ""
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

// note counts the event and remembers it for the page. A redelivered event is
// counted once. sound reports whether the event keeps the contract. The functions
// refuse one that does not, so it must change nothing here either.
func (f *Function) note(s *seen, sound func() bool) {
	if !f.flow.count(s) {
		return
	}
	switch s.Type {
	case event.TypeRecommendation, event.TypeSuppressed, event.TypeRevoked:
		if d := f.decisions.add(s); d != nil {
			f.flow.decided(d)
			f.health.decided(d, s.At)
			f.experiments.decided(d)
		}
	case event.TypePrivacyErase:
		if sound() {
			f.players.forget(s.Player, s.At)
			f.decisions.forget(s.Player)
			f.experiments.forget(s.Player)
			f.queue.forget(s.Player)
		}
	case event.TypePrivacyErased: // not at the request, which may itself have become a dead letter
		go f.forgetDeadLetters(s.Player, cmp.Or(s.Time, s.At))
	case event.TypeDelivered, event.TypeAccepted, event.TypeDismissed, event.TypeExpired:
		var o event.Outcome
		if sound() && json.Unmarshal(s.Data, &o) == nil {
			f.experiments.outcome(s.Type, o.Recommendation)
			f.decisions.settle(o.Recommendation, outcomeOf(s))
		}
	case event.TypeReviewDecided, event.TypeReviewRequested:
		if sound() {
			f.heard(s)
		}
	case event.TypeRoundSettled:
		f.experiments.bet(s, sound)
	}
	if s.Type != event.TypePrivacyErase && s.Type != event.TypePrivacyErased && s.Type != event.TypeSwitchTurned && s.Player != "" {
		f.players.add(s)
	}
}
