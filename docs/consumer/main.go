// Command consumer is a consuming team's side in full: it takes
// recommendations that a Trigger delivers, shows each once and before it
// expires, and answers with the outcome, which goes back through the Broker.
//
//	go run ./docs/consumer        (listens on :9000, or $PORT)
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
	"time"
)

// recommendation is what this team needs of the event's data.
type recommendation struct {
	Action, Message string
	DedupKey        string    `json:"dedup_key"`
	Expires         time.Time `json:"expires"`
}

var seen sync.Map // by dedup key; a real team keeps this where its instances share it

func main() {
	addr := ":" + cmp.Or(os.Getenv("PORT"), "9000")
	log.Fatal(http.ListenAndServe(addr, http.HandlerFunc(handle)))
}

// handle takes one event in HTTP binary mode. A 2xx acknowledges it, a 5xx has
// it delivered again, any other 4xx sends it to the dead-letter sink.
func handle(w http.ResponseWriter, r *http.Request) {
	var rec recommendation
	if err := json.NewDecoder(r.Body).Decode(&rec); err != nil {
		http.Error(w, "not a recommendation: "+err.Error(), http.StatusBadRequest)
		return
	}
	outcome := "delivered"
	if _, again := seen.LoadOrStore(rec.DedupKey, true); again {
		return // at least once means sometimes twice
	}
	if !rec.Expires.IsZero() && time.Now().After(rec.Expires) {
		outcome = "expired"
	} else {
		fmt.Printf("player %s: %s (%s)\n", r.Header.Get("Ce-Subject"), rec.Message, rec.Action)
	}
	h := w.Header() // the reply is an event; its id derives from the input's, so that a repeat is known as one
	h.Set("Ce-Specversion", "1.0")
	h.Set("Ce-Type", "pitboss.recommendation."+outcome+".v1")
	h.Set("Ce-Source", "/lobby")
	h.Set("Ce-Id", outcome+"-"+r.Header.Get("Ce-Id"))
	h.Set("Ce-Subject", r.Header.Get("Ce-Subject"))
	h.Set("Ce-Time", time.Now().UTC().Format(time.RFC3339Nano))
	h.Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"recommendation": r.Header.Get("Ce-Id"), "channel": "in_app"})
}
