// Package event is the contract between game platforms, Pitboss's functions and consuming
// teams: the CloudEvents types, the Go type and JSON Schema of each type's data, the checks of
// every event, the derivation of replies from their input, and the errors that are worth a
// retry.
//
// Event in → [Parse] → [Record]. Record → [Reply] → event out.
//
// Sources: CloudEvents 1.0.2, the CloudEvents Partitioning and Distributed
// Tracing extensions, JSON Schema 2020-12, RFC 9457 (problem details).
package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Extension attributes that travel with an event through every hop.
const (
	ExtPartitionKey = "partitionkey" // player id: Partitioning extension, Kafka Broker ordering
	ExtTraceparent  = "traceparent"  // W3C trace context: Distributed Tracing extension
	ExtTracestate   = "tracestate"
	// ExtReceived is when the Broker (or ingest) received the platform's event, RFC 3339 with
	// nanoseconds. Replies keep their input's value, so that any hop can tell the latency
	// since the POST.
	ExtReceived = "receivedtime"
	// extArrival is set by Knative's Broker ingress on every event that it accepts.
	extArrival = "knativearrivaltime"
)

// Extension attributes of recommendations, for consuming teams' Trigger filters.
const (
	ExtAction       = "action"
	ExtKind         = "kind"
	ExtJurisdiction = "jurisdiction"
	ExtBrand        = "brand"
	ExtChannel      = "channel"
	ExtSeverity     = "severity"
	ExtArm          = "arm"
	ExtExpiry       = "expiry"
	ExtReview       = "review" // "true" if a person must review the decision
)

// Record is a checked event: the attributes that Pitboss uses and the decoded data.
type Record struct {
	ID, Source, Type string
	Subject          string // player id
	Time             time.Time
	Info             *Info
	Data             any // pointer to the Go type that Info names, e.g. *RoundSettled
}

// Key identifies the event in the duplicate memory: a 64-bit hash of source and id, which
// together are unique by CloudEvents 1.0.
func (r *Record) Key() uint64 { return Key(r.Source, r.ID) }

// Key hashes a (source, id) pair to 64 bits.
func Key(source, id string) uint64 {
	var buf [256]byte
	b := append(buf[:0], source...)
	b = append(b, 0)
	b = append(b, id...)
	return xxhash.Sum64(b)
}

// ReplyID derives the id of the reply of type replyType to the event (source, id). It is
// deterministic, so that a redelivered event has the same reply and every consumer can
// deduplicate.
func ReplyID(source, id, replyType string) string {
	var room [512]byte
	b := append(append(room[:0], source...), 0)
	b = append(append(b, id...), 0)
	sum := sha256.Sum256(append(b, replyType...))
	return hex.EncodeToString(sum[:16])
}

// SourceOf returns the CloudEvents source of the function fn.
func SourceOf(fn string) string { return ReservedSource + fn }

// replying makes the reply to a redelivered event the same, byte for byte. Duplicate names
// need not be looked for, because the Go types of replies have none.
var replying = json.JoinOptions(json.Deterministic(true), jsontext.AllowDuplicateNames(true))

// Reply returns the event of type typ with which the function fn answers in. It has in's
// subject, partition key, trace context and time of receipt. data is marshalled to JSON; at is
// the reply's event time.
func Reply(in *ce.Event, fn, typ string, at time.Time, data any) (*ce.Event, error) {
	body, err := marshal(data)
	if err != nil {
		return nil, fmt.Errorf("event: marshal %s: %w", typ, err)
	}
	out := newEvent(fn, typ, in.Subject(), ReplyID(Source(in), in.ID(), typ), at, body)
	exts := extensions(in)
	for _, name := range [...]string{ExtPartitionKey, ExtTraceparent, ExtTracestate, ExtReceived} {
		if v, ok := exts[name]; ok {
			out.SetExtension(name, v)
		}
	}
	if _, ok := exts[ExtReceived]; !ok {
		if v, ok := exts[extArrival]; ok {
			out.SetExtension(ExtReceived, fmt.Sprint(v))
		}
	}
	if _, ok := exts[ExtPartitionKey]; !ok {
		out.SetExtension(ExtPartitionKey, in.Subject())
	}
	return out, nil
}

// extensions returns e.Extensions() without copying them. They must not be modified.
func extensions(e *ce.Event) map[string]any {
	if c, ok := e.Context.(*ce.EventContextV1); ok {
		return c.Extensions
	}
	return e.Extensions()
}

// New returns an event of Pitboss's own that is not a reply, about what a person did at the
// console or on the command line.
func New(fn, typ, subject, id string, at time.Time, data any) (*ce.Event, error) {
	body, err := marshal(data)
	if err != nil {
		return nil, fmt.Errorf("event: marshal %s: %w", typ, err)
	}
	e := newEvent(fn, typ, subject, id, at, body)
	e.SetExtension(ExtPartitionKey, subject)
	return e, nil
}

// HashPlayer returns the form in which a player id may appear in logs and metrics: the first
// 12 hex digits of its SHA-256.
func HashPlayer(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:6])
}
