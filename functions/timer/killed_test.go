package timer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	funchttp "knative.dev/func-go/http"

	"pitboss/functions"
	"pitboss/internal/event"
	"pitboss/internal/player"
	"pitboss/internal/setup"
	"pitboss/test/redistest"
)

// TestMain runs the test binary as a timer if a test started it as one, like
// functions/serve.
func TestMain(m *testing.M) {
	if os.Getenv("FUNCTION_TARGET") == "" {
		os.Exit(m.Run())
	}
	f, err := functions.New(os.Getenv("FUNCTION_TARGET"))
	if err == nil {
		err = funchttp.Start(f)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

const lease = 2 * time.Second

// process starts a timer in another process, which POSTs to sink.
func process(t *testing.T, redisURL, sink string) *exec.Cmd {
	t.Helper()
	port, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FUNCTION_TARGET=timer", "REDIS_URL="+redisURL, "K_SINK="+sink, "LOG_LEVEL=error",
		fmt.Sprintf("LISTEN_ADDRESS=127.0.0.1:%d", port), "TIMER_EVERY=50ms", "TIMER_LEASE="+lease.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// effects counts the effects of reminders by player.
type effects map[string]int

func (effects) Reuse(_ *effects, b []byte) (*effects, error) {
	e := effects{}
	if len(b) == 0 {
		return &e, nil
	}
	return &e, json.Unmarshal(b, &e)
}

func (effects) Append(dst []byte, e *effects) ([]byte, error) {
	b, err := json.Marshal(e)
	return append(dst, b...), err
}

// world stands in for the Broker and for profile: it folds each reminder.due into
// the player's state, as profile does.
type world struct {
	t     *testing.T
	store *player.Store[effects]
	block chan struct{} // closed: the victim's requests are answered

	mu     sync.Mutex
	stuck  int // the victim's events that wait for their answer
	posts  map[string]int
	others []time.Time // when the others sent something
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err != nil {
		w.t.Errorf("not a CloudEvent: %v", err)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.mu.Lock()
	victim := r.URL.Path == "/victim"
	if w.posts[e.ID()]++; !victim {
		w.others = append(w.others, time.Now())
	}
	held := victim && len(w.posts) > 20 // the Broker has taken 20 of the victim's events, and hangs
	if held {
		w.stuck++
	}
	w.mu.Unlock()
	if held {
		<-w.block
		return
	}
	if err := w.fold(r.Context(), e); err != nil {
		w.t.Errorf("fold: %v", err)
	}
	rw.WriteHeader(http.StatusAccepted)
}

func (w *world) fold(ctx context.Context, e *ce.Event) error {
	_, err := w.store.Update(ctx, e.Subject(), player.Op[effects]{Key: event.Key(e.Source(), e.ID()), At: e.Time().UnixMilli(),
		Fold: func(s *effects, dup bool, _ uint8) (player.Effects, error) {
			if !dup {
				(*s)["fired"]++
			}
			return player.Effects{}, nil
		}})
	return err
}

// wait fails the test if cond does not hold in time.
func (w *world) wait(what string, atMost time.Duration, cond func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(atMost); ; time.Sleep(5 * time.Millisecond) {
		w.mu.Lock()
		ok := cond()
		w.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within %v", what, atMost)
		}
	}
}

// TestAKilledTimersRemindersFireElsewhere: a timer process takes all reminders that
// are due, gets some of them to the Broker, and is killed with SIGKILL while it waits
// for the answers to others. Two more timers run. Nobody touches the victim's
// reminders before its lease ends; then all of them fire, and each has its effect once.
func TestAKilledTimersRemindersFireElsewhere(t *testing.T) {
	t.Parallel()
	const reminders = 200
	url := redistest.Start(t)
	rdb := redistest.Client(t, url)
	w := &world{t: t, store: player.NewStore(rdb, effects{}, player.Config{}), block: make(chan struct{}), posts: map[string]int{}}
	broker := httptest.NewServer(w)
	t.Cleanup(broker.Close)
	t.Cleanup(func() { close(w.block) })
	due := time.Now().Add(-time.Second)
	name := func(n int) string { return fmt.Sprint("player-", n) }
	for n := range reminders {
		_, err := w.store.Update(t.Context(), name(n), player.Op[effects]{Key: 1, Fold: func(*effects, bool, uint8) (player.Effects, error) {
			return player.Effects{Reminders: []player.ReminderChange{{Name: "idle", New: due}}}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}

	victim := process(t, url, broker.URL+"/victim")
	w.wait("the victim sends", 20*time.Second, func() bool { return w.stuck == 16 })
	killed := time.Now()
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := victim.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the victim ended with %v", err)
	}
	for range 2 {
		process(t, url, broker.URL+"/other")
	}
	w.wait("all reminders fire", lease+10*time.Second, func() bool { return len(w.others) >= reminders })
	w.wait("all are acknowledged", 5*time.Second, func() bool { return left(t, rdb) == 0 })

	w.mu.Lock()
	defer w.mu.Unlock()
	first, last := w.others[0].Sub(killed), w.others[len(w.others)-1].Sub(killed)
	t.Logf("the others fired from %v to %v after the kill; lease %v", first, last, lease)
	// The lease began a little before the kill, with the first of 200 takes.
	if first < lease/4 {
		t.Errorf("the others sent a reminder %v after the kill: the lease held nothing back", first)
	}
	if last > lease+3*time.Second {
		t.Errorf("the last reminder fired %v after the kill, with a lease of %v", last, lease)
	}
	if len(w.posts) != reminders || len(w.others) != reminders {
		t.Errorf("%d ids and %d sent by the others, want %d each", len(w.posts), len(w.others), reminders)
	}
	for n := range reminders {
		s, _, err := w.store.Read(t.Context(), name(n))
		if err != nil || (*s)["fired"] != 1 {
			t.Errorf("%s: fired %d times (%v)", name(n), (*s)["fired"], err)
		}
	}
}

// A reminder that is moved by less than a second after it has fired, as while a backlog is
// handled, fires again. It is another event.
func TestAReminderMovedWithinItsSecondFires(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	rdb := redistest.Client(t, url)
	w := &world{t: t, store: player.NewStore(rdb, effects{}, player.Config{}), posts: map[string]int{}}
	broker := httptest.NewServer(w)
	t.Cleanup(broker.Close)
	process(t, url, broker.URL)
	first := time.Now().Add(-time.Minute).Truncate(time.Second)
	for n, due := range []time.Time{first, first.Add(time.Millisecond), first.Add(999 * time.Millisecond)} {
		_, err := w.store.Update(t.Context(), "alice", player.Op[effects]{Key: uint64(n + 1), Fold: func(*effects, bool, uint8) (player.Effects, error) {
			return player.Effects{Reminders: []player.ReminderChange{{Name: "idle", New: due}}}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		w.wait("the reminder fires", 20*time.Second, func() bool { return len(w.others) == n+1 })
		w.wait("it is acknowledged", 5*time.Second, func() bool { return left(t, rdb) == 0 })
	}
	s, _, err := w.store.Read(t.Context(), "alice")
	if err != nil || (*s)["fired"] != 3 || len(w.posts) != 3 {
		t.Errorf("%d events, of which %d counted, want 3 (%v)", len(w.posts), (*s)["fired"], err)
	}
}

// left returns how many reminders are in Redis.
func left(t *testing.T, rdb setup.Client) (n int64) {
	for shard := range player.Shards {
		c, err := rdb.ZCard(t.Context(), player.ReminderKey(shard)).Result()
		if err != nil {
			t.Error(err)
		}
		n += c
	}
	return n
}
