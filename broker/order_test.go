package broker_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
)

// An ordered Trigger keeps a key's events in order through a retry, and the
// retry holds up no other key.
func TestOrderedTriggerKeepsOrderThroughARetry(t *testing.T) {
	t.Parallel()
	failed := false
	sub := newSubscriber(t, nil)
	sub.answer = func(w http.ResponseWriter, e ce.Event, _ int) {
		if e.ID() == "alice-0" && !failed {
			failed = true // the next attempt comes after 2 s: time enough to be overtaken
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	slow := strings.NewReplacer("linear", "exponential", "PT0.01S", "PT2S").Replace(fastBroker)
	b := open(t, options{broker: slow}, spec{to: sub,
		name: `a, annotations: {kafka.eventing.knative.dev/delivery.order: ordered}`})
	for i := range 20 {
		for _, player := range []string{"alice", "bob"} {
			req, _ := http.NewRequest(http.MethodPost, b.URL(), strings.NewReader(`{}`))
			for name, v := range map[string]string{"Content-Type": "application/json", "ce-specversion": "1.0", "ce-type": "t", "ce-source": "/p",
				"ce-id": fmt.Sprintf("%s-%d", player, i), "ce-partitionkey": player} {
				req.Header.Set(name, v)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil || res.StatusCode != http.StatusAccepted {
				t.Fatal(err, res)
			}
			res.Body.Close()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Quiet(ctx); err != nil {
		t.Fatal(err)
	}
	order := map[string][]string{}
	bobDone, aliceRetried := -1, -1
	for n, e := range sub.events() {
		player, _, _ := strings.Cut(e.ID(), "-")
		order[player] = append(order[player], e.ID())
		if e.ID() == "bob-19" {
			bobDone = n
		}
		if e.ID() == "alice-0" {
			aliceRetried = n
		}
	}
	want := []string{"alice-0"} // the failed attempt
	for i := range 20 {
		want = append(want, fmt.Sprintf("alice-%d", i))
	}
	if fmt.Sprint(order["alice"]) != fmt.Sprint(want) {
		t.Errorf("alice's events came as %v", order["alice"])
	}
	if len(order["bob"]) != 20 || bobDone > aliceRetried {
		t.Errorf("bob waited for alice's retry: his last came as number %d, her retry as %d", bobDone, aliceRetried)
	}
}
