// Command consumer is a consuming team's side in full: it takes the
// recommendations that trigger.yaml has delivered, shows each once and before
// it expires, and replies with the outcome, which goes back through the Broker.
//
//	go run ./docs/consumer        (listens on :9000)
//
// To try it, point a copy of trigger.yaml at it before `make run`:
//
//	sed '/^  subscriber:/,/^      name:/c\  subscriber: {uri: "http://127.0.0.1:9000"}' \
//	  docs/consumer/trigger.yaml > broker/local/triggers/lobby.yaml
package main

import (
	"context"
	"fmt"
	"log"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/client"
	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

type recommendation struct { // what this team needs of the event's data
	Action, Message string         // "{game} did not load."
	Params          map[string]any // {"game": "starburst"}
	DedupKey        string         `json:"dedup_key"`
	Expires         time.Time      `json:"expires"`
}

var seen sync.Map // by dedup key; a real team keeps this where its instances share it

func main() {
	receiver, err := client.NewHTTP(cehttp.WithPort(9000))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(receiver.StartReceiver(context.Background(), receive))
}

// receive takes one event. An error has it delivered again, a 400 sends it to the dead-letter sink.
func receive(in ce.Event) (*ce.Event, error) {
	var rec recommendation
	if err := in.DataAs(&rec); err != nil {
		return nil, cehttp.NewResult(400, "not a recommendation: %w", err)
	}
	if _, again := seen.LoadOrStore(rec.DedupKey, true); again {
		return nil, nil // at least once means sometimes twice
	}
	for name, value := range rec.Params {
		rec.Message = strings.ReplaceAll(rec.Message, "{"+name+"}", fmt.Sprint(value))
	}
	outcome := "expired"
	if time.Now().Before(rec.Expires) {
		outcome = "delivered"
		player, _ := url.PathUnescape(in.Subject()) // sdk-go does not decode headers
		fmt.Printf("player %s: %s (%s)\n", player, rec.Message, rec.Action)
	}
	out := ce.New()
	out.SetType("pitboss.recommendation." + outcome + ".v1")
	out.SetSource("/lobby")
	out.SetID(outcome + "-" + in.ID()) // follows from the input's, so that a repeat is known as one
	out.SetSubject(in.Subject())
	out.SetTime(time.Now())
	return &out, out.SetData("application/json", map[string]string{"recommendation": in.ID(), "channel": "in_app"})
}
