package broker_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
)

// Nobody is held up: an event is delivered at once although events of the same
// player, more than the Trigger has workers, wait for a retry, were refused,
// or are dead letters whose sink does not answer. Kafka's annotation for order
// changes nothing about that.
func TestNoEventWaitsForAnother(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 10_000)
	release := make(chan struct{})
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	t.Cleanup(sink.Close)
	t.Cleanup(func() { close(release) })
	sub := newSubscriber(t, func(w http.ResponseWriter, e ce.Event, _ int) {
		switch {
		case strings.HasPrefix(e.ID(), "refused"):
			w.WriteHeader(http.StatusBadRequest)
		case strings.HasPrefix(e.ID(), "retried"):
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	slow := strings.NewReplacer("linear", "exponential", "PT0.01S",
		fmt.Sprintf("PT1H, deadLetterSink: {uri: \"%s\"}", sink.URL)).Replace(fastBroker)
	b := open(t, options{broker: slow}, spec{to: sub,
		name: `a, annotations: {kafka.eventing.knative.dev/delivery.order: ordered}`})
	for i := range 100 { // more than the 64 first attempts at once
		for _, kind := range []string{"refused", "retried"} {
			post(t, b.URL(), "x", fmt.Sprintf("%s-%d", kind, i), "Ce-Partitionkey", "alice")
		}
	}
	<-asked // the sink has one and does not answer
	post(t, b.URL(), "x", "excluded", "Ce-Partitionkey", "alice")
	for {
		select {
		case e := <-sub.seen:
			if e.ID() == "excluded" {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the event waits for those before it")
		}
	}
}
