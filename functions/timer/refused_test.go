package timer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	funchttp "knative.dev/func-go/http"

	"pitboss/functions/console"
	"pitboss/internal/player"
	"pitboss/test/redistest"
)

// refuser is a Broker that answers as the player's name says.
type refuser struct {
	mu    sync.Mutex
	posts map[string]int  // by player
	mild  map[string]bool // players whose events are accepted all the same
}

func (b *refuser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	who := r.Header.Get("Ce-Subject")
	b.mu.Lock()
	b.posts[who]++
	mild := b.mild[who]
	b.mu.Unlock()
	status := http.StatusAccepted
	if word, _, _ := strings.Cut(who, "-"); !mild {
		_, _ = fmt.Sscanf(word, "%d", &status)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "says the Broker")
}

func (b *refuser) mend(who string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mild[who] = true
}

// nothing is a state without anything in it.
type nothing struct{}

func (nothing) Reuse(*nothing, []byte) (*nothing, error)      { return &nothing{}, nil }
func (nothing) Append(dst []byte, _ *nothing) ([]byte, error) { return dst, nil }

// A reminder.due that the Broker refuses because of the event is sent once, becomes a dead
// letter that the console shows and replays, and does not hold up others. If the Broker
// cannot be reached, the reminder is sent again.
func TestARefusedReminderIsADeadLetter(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	broker := &refuser{posts: map[string]int{}, mild: map[string]bool{}}
	server := httptest.NewServer(broker)
	t.Cleanup(server.Close)
	now := time.Now()
	f := New()
	f.now = func() time.Time { return now }
	err := f.Start(context.Background(), map[string]string{"REDIS_URL": url, "K_SINK": server.URL, "MODELS_DIR": "../../models",
		"TIMER_EVERY": "0", "TIMER_LEASE": "60s", "GUARD_EVERY": "0", "LABELS_EVERY": "0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Stop(context.Background()) })
	rdb := redistest.Client(t, url)
	store := player.NewStore(rdb, nothing{}, player.Config{})
	want := map[string]int{"202-fine": 1, "400-bad": 1, "413-large": 1, "404-nowhere": 3, "403-forbidden": 3, "503-busy": 3}
	for id := range want {
		_, err := store.Update(t.Context(), id, player.Op[nothing]{Key: 1, Fold: func(*nothing, bool, uint8) (player.Effects, error) {
			return player.Effects{Reminders: []player.ReminderChange{{Name: "idle", New: now.Add(-time.Second)}}}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := f.tick(t.Context()); err == nil {
			t.Error("a Broker that is not there is no trouble")
		}
		now = now.Add(2 * time.Minute) // the leases are over
	}
	if broker.mu.Lock(); !maps.Equal(broker.posts, want) {
		t.Errorf("sent were %v, want %v", broker.posts, want)
	}
	broker.mu.Unlock()

	page := consoleOf(t, url, server.URL)
	kept := map[string]int{}
	for _, d := range page.list() {
		kept[d.Event.Subject] = d.Code
		if d.Reason != "says the Broker" || d.Trigger != "127.0.0.1" {
			t.Errorf("%+v", d)
		}
	}
	if !maps.Equal(kept, map[string]int{"400-bad": 400, "413-large": 413}) {
		t.Fatalf("the console shows %v", kept)
	}
	broker.mend("413-large")
	if status := page.replay(); status == http.StatusOK {
		t.Error("nobody is told that one was refused again")
	}
	if left := page.list(); len(left) != 1 || left[0].Event.Subject != "400-bad" {
		t.Errorf("one that is refused again holds up others: %+v", left)
	}
	for id := range want {
		broker.mend(id)
	}
	if status := page.replay(); status != http.StatusOK || len(page.list()) != 0 {
		t.Errorf("replayed: %d, left are %+v", status, page.list())
	}
	if err := f.tick(t.Context()); err != nil {
		t.Error(err)
	}
	now = now.Add(2 * time.Minute)
	if due, err := f.due.Take(t.Context(), now, time.Minute, 10); err != nil || len(due) != 0 {
		t.Errorf("reminders stay: %v, %v", due, err)
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

func (c consolePage) replay() int {
	c.t.Helper()
	res, err := http.Post(c.url+"/api/deadletters/replay", "application/json", strings.NewReader("{}"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}
