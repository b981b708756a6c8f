package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"pitboss/functions"
	"pitboss/internal/event"
)

// aFailedPayment is an event that a decision follows.
func aFailedPayment(player string) *ce.Event {
	e := ce.New()
	e.SetID("payment of " + event.HashPlayer(player))
	e.SetSource("/platform/test")
	e.SetType(event.TypePaymentFailed)
	e.SetSubject(player)
	e.SetTime(time.Now())
	_ = e.SetData(ce.ApplicationJSON, []byte(`{"operation":"deposit","amount":2000,"currency":"GBP","method":"card","error":"declined"}`))
	return &e
}

func traceparent(e *ce.Event) (trace, spanID, flags string) {
	s, _ := e.Extensions()[event.ExtTraceparent].(string)
	parts := append(strings.Split(s, "-"), "", "", "", "")
	return parts[1], parts[2], parts[3]
}

// hop is a span that a trace must have: whose, what, below which.
type hop struct{ service, name string }

var pipeline = []hop{
	{"pitboss-broker", "accept " + event.TypePaymentFailed},
	{"pitboss-profile", "process " + event.TypePaymentFailed},
	{"pitboss-score", "process " + event.TypePlayerUpdated},
	{"pitboss-decide", "process " + event.TypePlayerScored},
}

// chain checks that the trace has the hops, each the child of the one before
// (the first of parent), and returns the last.
func (d *deployment) chain(t *testing.T, trace, parent string, hops []hop) *span {
	t.Helper()
	var last *span
	for _, h := range hops {
		var found *span
		d.await(fmt.Sprintf("span %v in\n%s", h, d.spans.names(trace)), func() bool {
			for _, s := range d.spans.of(trace) {
				if s.service == h.service && s.Name == h.name && s.parent() == parent && s.Status.GetCode() != otlp.Status_STATUS_CODE_ERROR {
					found = s
				}
			}
			return found != nil
		})
		checkSpan(t, found, last)
		last, parent = found, found.id()
	}
	return last
}

// checkSpan holds a span against OpenTelemetry's conventions for messaging.
func checkSpan(t *testing.T, s, parent *span) {
	t.Helper()
	operation, typ, _ := strings.Cut(s.Name, " ")
	kinds := map[string]otlp.Span_SpanKind{"send": otlp.Span_SPAN_KIND_PRODUCER, "accept": otlp.Span_SPAN_KIND_SERVER, "process": otlp.Span_SPAN_KIND_CONSUMER}
	if s.Kind != kinds[operation] {
		t.Errorf("%s: kind %s, want %s", s.Name, s.Kind, kinds[operation])
	}
	types := map[string]string{"send": "send", "accept": "receive", "process": "process"}
	for name, want := range map[string]string{"messaging.system": "knative", "messaging.operation.name": operation,
		"messaging.operation.type": types[operation], "messaging.destination.name": typ, "cloudevents.event_type": typ,
		"cloudevents.event_spec_version": "1.0"} {
		if s.attrs[name] != want {
			t.Errorf("%s: %s is %q, want %q", s.Name, name, s.attrs[name], want)
		}
	}
	for _, name := range []string{"cloudevents.event_id", "cloudevents.event_source", "pitboss.player_hash", "pitboss.result"} {
		if s.attrs[name] == "" {
			t.Errorf("%s: no %s", s.Name, name)
		}
	}
	if s.resource["service.namespace"] != "pitboss" || s.resource["telemetry.sdk.language"] != "go" {
		t.Errorf("%s: resource %v", s.Name, s.resource)
	}
	if took := time.Duration(s.EndTimeUnixNano - s.StartTimeUnixNano); s.EndTimeUnixNano < s.StartTimeUnixNano || took > 20*time.Second {
		t.Errorf("%s: took %s", s.Name, took)
	}
	if parent != nil && s.StartTimeUnixNano < parent.StartTimeUnixNano {
		t.Errorf("%s begins before its parent %s", s.Name, parent.Name)
	}
	if s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR != (s.attrs["error.type"] != "") {
		t.Errorf("%s: status %s, error.type %q", s.Name, s.Status, s.attrs["error.type"])
	}
}

// oneTree checks that every span of the trace hangs below another one of it, or
// below the remote span given ("": exactly one has no parent).
func (d *deployment) oneTree(t *testing.T, trace, remote string) {
	t.Helper()
	ids, roots := map[string]bool{remote: remote != ""}, 0
	for _, s := range d.spans.of(trace) {
		ids[s.id()] = true
	}
	for _, s := range d.spans.of(trace) {
		switch {
		case s.parent() == "":
			roots++
		case !ids[s.parent()]:
			t.Errorf("%s of %s has a parent nobody knows", s.Name, s.service)
		}
	}
	if want := map[bool]int{true: 1}[remote == ""]; roots != want {
		t.Errorf("%d roots, want %d:\n%s", roots, want, d.spans.names(trace))
	}
}

// decided waits for the decision about a player, as the consuming team gets it.
func (d *deployment) decided(player string, n int) *ce.Event {
	d.t.Helper()
	d.await(fmt.Sprintf("%d decisions about %s", n, player), func() bool { return len(d.team.decisions(player)) >= n })
	return d.team.decisions(player)[n-1]
}

// One trace leads from the POST to the decision that the consuming team gets,
// through Broker and functions, each a process of its own.
func TestOneTraceFromPostToDecision(t *testing.T) {
	d := deploy(t)
	const given, remote = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	const other = "1af7651916cd43dd8448eb211c80319c"
	const unkept = "2af7651916cd43dd8448eb211c80319c"

	// arrives: the decision carries decide's span.
	arrives := func(t *testing.T, player, trace string, last *span) {
		t.Helper()
		gotTrace, gotSpan, flags := traceparent(d.decided(player, 1))
		if gotTrace != trace || gotSpan != last.id() || flags != "01" {
			t.Errorf("the team got %s-%s-%s, want trace %s, decide's span %s", gotTrace, gotSpan, flags, trace, last.id())
		}
		if last.attrs["pitboss.player_hash"] != event.HashPlayer(player) || last.attrs["pitboss.result"] != "replied" {
			t.Errorf("decide's span: %v", last.attrs)
		}
	}
	t.Run("without a traceparent, POSTed to the Broker", func(t *testing.T) {
		d.post(d.broker, aFailedPayment("alice-1"))
		trace, _, _ := traceparent(d.decided("alice-1", 1))
		arrives(t, "alice-1", trace, d.chain(t, trace, "", pipeline))
		d.oneTree(t, trace, "")
		for _, s := range d.spans.of(trace) {
			if s.service != "pitboss-broker" && s.resource["service.version"] != s.service+"-00001" {
				t.Errorf("%s: service.version %q, want the revision", s.service, s.resource["service.version"])
			}
		}
	})
	t.Run("with one, POSTed to ingest", func(t *testing.T) {
		e := aFailedPayment("bob-1")
		e.SetExtension(event.ExtTraceparent, "00-"+given+"-"+remote+"-01")
		d.post(d.urls["ingest"], e)
		hops := append([]hop{{"pitboss-ingest", "send " + event.TypePaymentFailed}}, pipeline...)
		arrives(t, "bob-1", given, d.chain(t, given, remote, hops))
		d.oneTree(t, given, remote)
	})
	t.Run("with one in the HTTP request, as instrumented platforms send it", func(t *testing.T) {
		d.post(d.urls["ingest"], aFailedPayment("carol-1"), "traceparent", "00-"+other+"-"+remote+"-01")
		hops := append([]hop{{"pitboss-ingest", "send " + event.TypePaymentFailed}}, pipeline...)
		arrives(t, "carol-1", other, d.chain(t, other, remote, hops))
	})
	t.Run("one that is not to be kept is carried on and leaves no span", func(t *testing.T) {
		e := aFailedPayment("dave-1")
		e.SetExtension(event.ExtTraceparent, "00-"+unkept+"-"+remote+"-00")
		d.post(d.broker, e)
		if trace, id, flags := traceparent(d.decided("dave-1", 1)); trace != unkept || id != remote || flags != "00" {
			t.Errorf("the team got %s-%s-%s", trace, id, flags)
		}
	})
	t.Run("a reminder that comes due", func(t *testing.T) {
		e := aFailedPayment("erin-1")
		e.SetType(event.TypeGameFailed)
		e.SetTime(time.Now().Add(-2 * time.Minute)) // the reminder comes 90 s later
		_ = e.SetData(ce.ApplicationJSON, []byte(`{"game":"starburst","error":"timeout"}`))
		d.post(d.broker, e)
		trace, _, _ := traceparent(d.decided("erin-1", 1))
		hops := append([]hop{{"pitboss-timer", "send " + event.TypeReminderDue}}, pipeline...)
		hops[1].name, hops[2].name = "accept "+event.TypeReminderDue, "process "+event.TypeReminderDue
		arrives(t, "erin-1", trace, d.chain(t, trace, "", hops))
		d.oneTree(t, trace, "")
	})
	t.Run("a refused event", func(t *testing.T) {
		e := aFailedPayment("frank-1")
		_ = e.SetData(ce.ApplicationJSON, []byte(`{"operation":"deposit"}`))
		d.post(d.broker, e)
		failed := d.awaitError(t, e)
		if failed.attrs["pitboss.result"] != "refused" || failed.attrs["error.type"] != event.CodeSchemaViolation || len(failed.Events) != 1 {
			t.Errorf("%v, %d exceptions", failed.attrs, len(failed.Events))
		}
	})
	t.Run("an event that is tried again", func(t *testing.T) {
		d.redis.Kill()
		e := aFailedPayment("grace-1")
		d.post(d.broker, e)
		failed := d.awaitError(t, e)
		if err := d.redis.Restart(); err != nil {
			t.Fatal(err)
		}
		trace, _, _ := traceparent(d.decided("grace-1", 1))
		last := d.chain(t, trace, "", pipeline)
		arrives(t, "grace-1", trace, last)
		d.oneTree(t, trace, "")
		if failed.attrs["pitboss.result"] != "failed" || fmt.Sprintf("%x", failed.TraceId) != trace {
			t.Errorf("the failed attempt: %v, trace %x", failed.attrs, failed.TraceId)
		}
	})
	t.Run("a decision that the team takes the second time", func(t *testing.T) {
		d.team.mu.Lock()
		d.team.refuse["heidi-1"] = 1
		d.team.mu.Unlock()
		d.post(d.broker, aFailedPayment("heidi-1"))
		second := d.decided("heidi-1", 2)
		trace, id, _ := traceparent(second)
		if firstTrace, firstID, _ := traceparent(d.team.decisions("heidi-1")[0]); firstTrace != trace || firstID != id {
			t.Errorf("first %s %s, then %s %s", firstTrace, firstID, trace, id)
		}
		if last := d.chain(t, trace, "", pipeline); last.id() != id {
			t.Errorf("the team got span %s, decide's is %s", id, last.id())
		}
	})
	t.Run("logs", func(t *testing.T) { d.checkLogs(t, given) })
	if n := len(d.spans.of(unkept)); n > 0 {
		t.Errorf("%d spans of a trace that is not to be kept", n)
	}
	d.spans.mu.Lock()
	defer d.spans.mu.Unlock()
	for _, player := range players {
		if bytes.Contains(d.spans.raw, []byte(player)) {
			t.Errorf("spans name the player %s", player)
		}
	}
}

var players = []string{"alice-1", "bob-1", "carol-1", "dave-1", "erin-1", "frank-1", "grace-1", "heidi-1", "ivan-1"}

// awaitError is a span of profile's about e that failed.
func (d *deployment) awaitError(t *testing.T, e *ce.Event) (found *span) {
	t.Helper()
	d.await("a failed span about "+e.ID(), func() bool {
		d.spans.mu.Lock()
		defer d.spans.mu.Unlock()
		for _, spans := range d.spans.spans {
			for _, s := range spans {
				if s.service == "pitboss-profile" && s.attrs["cloudevents.event_id"] == e.ID() && s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR {
					found = s
				}
			}
		}
		return found != nil
	})
	checkSpan(t, found, nil)
	return found
}

// line is what every log line about an event has.
type line struct {
	Msg, ID, Type, Source, Player string
	Trace                         string `json:"trace_id"`
	Span                          string `json:"span_id"`
}

var (
	traceID = regexp.MustCompile(`^[0-9a-f]{32}$`)
	spanID  = regexp.MustCompile(`^[0-9a-f]{16}$`)
	hash    = regexp.MustCompile(`^[0-9a-f]{12}$`)
)

// checkLogs reads what every process wrote: JSON, no player's id, and on each
// line about an event its trace, span and hashed player. trace is one that went
// the whole way.
func (d *deployment) checkLogs(t *testing.T, trace string) {
	bad := aFailedPayment("ivan-1")
	_ = bad.SetData(ce.ApplicationJSON, []byte(`{"operation":"deposit"}`))
	req, err := cehttp.NewHTTPRequestFromEvent(context.Background(), d.urls["ingest"], *bad)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(req); err != nil || res.StatusCode != http.StatusBadRequest {
		t.Fatalf("ingest took an event against the contract: %v %v", res, err)
	}
	want := map[string]string{ // who must have told what
		"ingest": "event refused", "broker": "dead letter", "profile": "event failed", "score": "event", "decide": "event", "timer": "event"}
	told := map[string]bool{}
	onTrace := map[string]bool{}
	for _, name := range append(functions.Names(), "broker") {
		raw, err := os.ReadFile(d.logFile(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, player := range players {
			if bytes.Contains(raw, []byte(player)) {
				t.Errorf("%s's log names the player %s", name, player)
			}
		}
		for _, text := range bytes.Split(bytes.TrimSpace(raw), []byte("\n")) {
			var l line
			if err := json.Unmarshal(text, &l); err != nil {
				t.Errorf("%s's log: %v: %s", name, err, text)
				continue
			}
			onTrace[name] = onTrace[name] || l.Trace == trace
			told[l.Msg+" "+name] = true
			about := l.Type != "" || l.ID != "" || bytes.Contains(text, []byte("payment of "))
			if about && (l.Type == "" || l.ID == "" || l.Source == "" || !traceID.MatchString(l.Trace) || !spanID.MatchString(l.Span) || !hash.MatchString(l.Player)) {
				t.Errorf("%s's log, a line about an event without its trace, span or hashed player: %s", name, text)
			}
		}
	}
	for name, msg := range want {
		if !told[msg+" "+name] {
			t.Errorf("%s's log has no line %q", name, msg)
		}
	}
	for _, name := range []string{"ingest", "profile", "score", "decide"} {
		if !onTrace[name] {
			t.Errorf("%s's log says nothing of trace %s", name, trace)
		}
	}
}
