package broker

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	kbroker "knative.dev/eventing/pkg/broker"
)

// oddities are values that some attribute may not have.
var oddities = []string{"a", "/platform", "https://example.org/a", "a b", " ", "\t", "ä", "%zz", ":", "http://[::1", "application/json", "text/plain; charset=utf-8",
	"text/", "2026-01-02T15:04:05.123Z", "2026-01-02T15:04:05+02:00", "2026-13-02T15:04:05Z", "0", "1", "-1", "7", "255", "256", "2147483647", "99999999999", "1.5"}

// TestMessagesAreJudgedAsSDKGoJudgesThem: what the Broker takes without making
// an event of it is what sdk-go's setters and Validate take, and the TTL is
// what Knative's TTLDefaulter leaves.
func TestMessagesAreJudgedAsSDKGoJudgesThem(t *testing.T) {
	names := []string{"id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "brand", "with-dash", kbroker.TTLAttribute}
	taken, refused := 0, 0
	for range 20000 {
		attrs := []string{specversion, "1.0", "id", "1", "source", "/platform", "type", "t", "time", "2026-01-02T15:04:05Z"}
		for range rand.N(3) {
			name, value := names[rand.N(len(names))], oddities[rand.N(len(oddities))]
			if i := position(attrs, name); i < 0 {
				attrs = append(attrs, name, value)
			} else if rand.N(5) == 0 {
				attrs = append(attrs[:i], attrs[i+2:]...)
			} else {
				attrs[i+1] = value
			}
		}
		answers := int32(rand.N(3))
		wantTTL, want := judge(attrs, answers)
		m := &message{attrs: append([]string(nil), attrs...)}
		err := m.decode()
		if err == nil {
			err = (&Broker{}).stamp(m, answers)
		}
		if (err == nil) != want {
			t.Fatalf("%q in answer to %d: sdk-go takes it: %v; the Broker says %v", attrs, answers, want, err)
		}
		if err != nil {
			refused++
			continue
		}
		taken++
		if m.ttl != wantTTL {
			t.Fatalf("%q in answer to %d: TTL %d, want %d", attrs, answers, m.ttl, wantTTL)
		}
		if back, err := readRecord(m.appendRecord(nil)); err != nil || back.ttl != m.ttl || !slices.Equal(back.attrs, m.attrs) {
			t.Fatalf("%q is acknowledged, and the log gives back %+v, %v", attrs, back, err)
		}
		if e := m.event(); e.Validate() != nil || e.ID() != m.attribute("id") || e.Extensions()[kbroker.TTLAttribute] != nil || e.Extensions()[kbroker.EventArrivalTime] == nil {
			t.Fatalf("%q became %v", attrs, e)
		}
	}
	if taken < 1000 || refused < 1000 {
		t.Errorf("%d taken, %d refused: too few of one to prove anything", taken, refused)
	}
}

func position(attrs []string, name string) int {
	for i := 0; i < len(attrs); i += 2 {
		if attrs[i] == name {
			return i
		}
	}
	return -1
}

// judge is what Knative's ingress does, with its own functions.
func judge(attrs []string, answers int32) (ttl int32, ok bool) {
	e := ce.New(attrs[1])
	for i := 2; i < len(attrs); i += 2 {
		if err := setAttribute(e.Context, attrs[i], attrs[i+1]); err != nil {
			return 0, false
		}
	}
	if e.Validate() != nil {
		return 0, false
	}
	if answers > 0 {
		_ = kbroker.SetTTL(e.Context, answers)
	}
	e = kbroker.TTLDefaulter(zap.NewNop(), defaultTTL)(context.Background(), e)
	ttl, err := kbroker.GetTTL(e.Context)
	return ttl, err == nil && ttl > 0
}

func BenchmarkReadReply(b *testing.B) {
	header := headers("Ce-Specversion", "1.0", "Ce-Source", "/pitboss/profile", "Ce-Type", "pitboss.player.updated.v1", "Ce-Subject", "player-4711",
		"Ce-Time", "2026-01-02T15:04:05.123Z", "Content-Type", "application/json", "Ce-Partitionkey", "player-4711", "Ce-Jurisdiction", "GB", "Ce-Brand", "pit",
		"Ce-Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "Ce-Id", "")
	body := make([]byte, 2000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		header["Ce-Id"] = []string{strconv.Itoa(i)}
		m, err := readReply(header, body)
		if err == nil {
			err = (&Broker{}).stamp(m, 255)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
