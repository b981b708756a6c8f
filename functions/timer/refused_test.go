package timer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	funchttp "knative.dev/func-go/http"

	"pitboss/functions/console"
	"pitboss/functions/timer"
	"pitboss/internal/player"
	"pitboss/internal/setup"
	"pitboss/test/redistest"
)

// refuser is a Broker that answers as the player's name says.
type refuser struct {
	mu    sync.Mutex
	posts map[string]int // by player
	mild  bool           // it takes everything now
}

func (b *refuser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	who := r.Header.Get("Ce-Subject")
	b.mu.Lock()
	b.posts[who]++
	mild := b.mild
	b.mu.Unlock()
	status := http.StatusAccepted
	if word, _, _ := strings.Cut(who, "-"); !mild {
		_, _ = fmt.Sscanf(word, "%d", &status)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "says the Broker")
}

func (b *refuser) count(who string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.posts[who]
}

// A reminder.due that the Broker refuses for what it is is sent once, becomes a dead
// letter that the console shows and replays, and holds up no other. Where the Broker
// is not to be found, it is no fault of the event's: it is sent again.
func TestARefusedReminderIsADeadLetter(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	rdb, err := setup.Redis(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	players := map[string]int{"202-fine": 1, "400-bad": 1, "413-large": 1, "404-nowhere": 2, "403-forbidden": 2, "503-busy": 2}
	store := player.NewStore(rdb, effects{}, player.Config{})
	for id := range players {
		_, err := store.Update(t.Context(), id, player.Op[effects]{Key: 1, Fold: func(*effects, bool, uint8) (player.Effects, error) {
			return player.Effects{Reminders: []player.ReminderChange{{Name: "idle", New: time.Now().Add(-time.Second)}}}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	broker := &refuser{posts: map[string]int{}}
	server := httptest.NewServer(broker)
	t.Cleanup(server.Close)
	f := timer.New()
	err = f.Start(context.Background(), map[string]string{"REDIS_URL": url, "K_SINK": server.URL, "MODELS_DIR": "../../models",
		"TIMER_EVERY": "0", "TIMER_LEASE": "1ms", "TIMER_BATCH": "3", "GUARD_EVERY": "0", "LABELS_EVERY": "0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Stop(context.Background()) })
	tick := func() error { _, err := f.Handle(t.Context(), ce.New()); return err }
	for deadline := time.Now().Add(30 * time.Second); broker.count("404-nowhere") < 2 || broker.count("403-forbidden") < 2 ||
		broker.count("503-busy") < 2 || left(t, rdb) > 3; {
		if _ = tick(); time.Now().After(deadline) {
			t.Fatalf("%v, %d reminders left", broker.posts, left(t, rdb))
		}
	}
	for id, atMost := range map[string]int{"202-fine": 1, "400-bad": 1, "413-large": 1} {
		if n := broker.count(id); n != atMost {
			t.Errorf("%s was sent %d times", id, n)
		}
	}

	page := consoleOf(t, url, server.URL)
	kept := map[string]int{}
	for _, d := range page.list() {
		kept[d.Event.Subject] = d.Code
		if d.Reason != "says the Broker" || d.Trigger != "127.0.0.1" {
			t.Errorf("%+v", d)
		}
	}
	if len(kept) != 2 || kept["400-bad"] != 400 || kept["413-large"] != 413 {
		t.Fatalf("the console shows %v", kept)
	}
	broker.mu.Lock()
	broker.mild = true
	broker.mu.Unlock()
	page.replay()
	if n := len(page.list()); n != 0 || broker.count("400-bad") != 2 || broker.count("413-large") != 2 {
		t.Errorf("%d dead letters after the replay: %v", n, broker.posts)
	}
	for deadline := time.Now().Add(30 * time.Second); left(t, rdb) > 0; {
		if err := tick(); time.Now().After(deadline) {
			t.Fatalf("reminders stay: %v", err)
		}
	}
}

// consolePage is a console behind func-go's server.
type consolePage struct {
	t   *testing.T
	url string
}

func consoleOf(t *testing.T, redis, sink string) consolePage {
	t.Helper()
	f := console.New()
	server := httptest.NewServer(funchttp.New(f).Handler)
	if err := f.Start(context.Background(), map[string]string{"REDIS_URL": redis, "K_SINK": sink, "MODELS_DIR": "../../models", "PITBOSS_APPROVERS": "1"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Stop(context.Background()); server.Close() })
	return consolePage{t, server.URL}
}

type shownLetter struct {
	Trigger, Reason string
	Code            int
	Event           struct{ Subject string }
}

func (c consolePage) list() []shownLetter {
	c.t.Helper()
	res, err := http.Get(c.url + "/api/deadletters")
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var page struct {
		DeadLetters []shownLetter `json:"dead_letters"`
	}
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
		c.t.Fatal(err)
	}
	return page.DeadLetters
}

func (c consolePage) replay() {
	c.t.Helper()
	res, err := http.Post(c.url+"/api/deadletters/replay", "application/json", strings.NewReader("{}"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		c.t.Fatalf("%d %s", res.StatusCode, body)
	}
}
