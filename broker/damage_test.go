package broker_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/broker"
)

// A byte is flipped anywhere in any of the log's files, after a kill and after
// an orderly stop: every acknowledged event is delivered after the next start,
// or is in a range that the Broker says is lost; and the Broker starts.
func TestDamagedLogSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	for _, stop := range []string{"killed", "stopped"} {
		made := t.TempDir()
		acknowledged := leaveBacklog(t, made, stop == "killed")
		for n := range 12 {
			t.Run(fmt.Sprint(stop, n), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
					t.Fatal(err)
				}
				where := flip(t, dir)
				s := newSubscriber(t, nil)
				b := open(t, options{dir: dir}, spec{name: "t", to: s})
				quiet(t, b)
				delivered := map[string]bool{}
				for _, e := range s.events() {
					delivered[e.ID()] = true
				}
				lost := 0
				for _, l := range b.Lost() {
					if l.From == 0 || l.To < l.From || l.Stream == "" {
						t.Errorf("%s: %+v is no range", where, l)
					}
					lost += l.Events
				}
				if missing := acknowledged - len(delivered); missing > lost {
					t.Errorf("%s: %d acknowledged events are not delivered, %d are said to be lost: %+v", where, missing, lost, b.Lost())
				}
			})
		}
	}
}

// leaveBacklog leaves a log with events that wait for their Trigger, some of
// them for a retry.
func leaveBacklog(t *testing.T, dir string, kill bool) (acknowledged int) {
	t.Helper()
	conf := t.TempDir()
	down := newSubscriber(t, func(w http.ResponseWriter, _ ce.Event, _ int) { w.WriteHeader(http.StatusServiceUnavailable) })
	write(t, filepath.Join(conf, "broker.yaml"), strings.Replace(fastBroker, "PT0.01S", "PT1H", 1))
	write(t, filepath.Join(conf, "triggers", "t.yaml"), fmt.Sprintf("apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\nspec: {broker: pitboss, subscriber: {uri: \"%s\"}}\n", down.URL))
	if err := os.Symlink(dir, filepath.Join(conf, "log")); err != nil {
		t.Fatal(err)
	}
	cmd, url := startProcess(t, conf)
	for i := range 60 {
		if code, body := post(t, url, "t", strconv.Itoa(i)); code != http.StatusAccepted {
			t.Fatalf("POST: %d %s", code, body)
		}
	}
	for range 60 {
		<-down.seen
	}
	if kill {
		_ = cmd.Process.Kill()
	} else {
		_ = cmd.Process.Signal(os.Interrupt)
	}
	_ = cmd.Wait()
	return 60
}

// flip turns one byte over somewhere, and says where.
func flip(t *testing.T, dir string) string {
	t.Helper()
	var files []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if info, e := d.Info(); e == nil && d.Type().IsRegular() && info.Size() > 0 {
			files = append(files, path)
		}
		return err
	})
	path := files[rand.IntN(len(files))]
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := rand.IntN(len(text))
	text[at] ^= byte(1 + rand.IntN(255))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s at %d of %d", strings.TrimPrefix(path, dir), at, len(text))
}

// The disk is full for a while: events are answered 503 and /healthz says why.
// When there is room again the Broker takes events by itself; whatever was
// acknowledged is delivered, and what became a dead letter meanwhile is one.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	mountSmall(t, dir)
	var refuse atomic.Bool
	s := newSubscriber(t, func(w http.ResponseWriter, e ce.Event, _ int) {
		if strings.HasPrefix(e.ID(), "bad") {
			for !refuse.Load() {
				time.Sleep(time.Millisecond)
			}
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	b := open(t, options{dir: filepath.Join(dir, "log")}, spec{name: "t", to: s})
	acknowledged := map[string]bool{}
	send := func(id string) int {
		code, _ := post(t, b.URL(), "x", id, "Ce-Padding", strings.Repeat("x", 8000))
		if code == http.StatusAccepted {
			acknowledged[id] = true
		}
		return code
	}
	for i := range 5 { // their answers come when the disk is full
		if got := send(fmt.Sprint("bad", i)); got != http.StatusAccepted {
			t.Fatalf("before: %d", got)
		}
	}
	for round := range 3 {
		filler := fill(t, dir)
		refuse.Store(true)
		full := 0
		for i := 0; full < 3; i++ {
			if i > 1000 {
				t.Fatal("the disk is full and events are taken")
			}
			if got := send(fmt.Sprint(round, "-full-", i)); got == http.StatusServiceUnavailable {
				full++
			} else if got != http.StatusAccepted {
				t.Fatalf("while full: %d", got)
			}
		}
		if status, text := get(t, b.URL()+"/healthz"); status != http.StatusServiceUnavailable || !strings.Contains(string(text), "the log takes nothing now") {
			t.Errorf("healthz while full: %d %s", status, text)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); b.Trouble() != nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("there is room again, and it says %v", b.Trouble())
			}
		}
		if got := send(fmt.Sprint(round, "-after")); got != http.StatusAccepted {
			t.Fatalf("with room again: %d", got)
		}
		if status, text := get(t, b.URL()+"/healthz"); status != http.StatusOK {
			t.Errorf("healthz with room again: %d %s", status, text)
		}
	}
	quiet(t, b)
	seen := map[string]bool{}
	for _, e := range s.events() {
		seen[e.ID()] = true
	}
	for id := range acknowledged {
		if !seen[id] {
			t.Errorf("%s was acknowledged and not delivered", id)
		}
	}
	letters, err := b.DeadLetters.List(context.Background(), "", 100)
	if err != nil || len(letters) != 5 {
		t.Errorf("%d dead letters, want 5: %v", len(letters), err)
	}
	drain(t, b)
	again, err := broker.Open(broker.Config{DataDir: filepath.Join(dir, "log"), BrokerFile: "base/broker.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if lost := again.Lost(); len(lost) > 0 {
		t.Errorf("lost over the full disk: %+v", lost)
	}
	drain(t, again)
}

// What the log may take is used up: 503 until something has left, and nothing
// is opened anew for it.
func TestFullStore(t *testing.T) {
	t.Parallel()
	var up atomic.Bool
	s := newSubscriber(t, func(w http.ResponseWriter, _ ce.Event, _ int) {
		for !up.Load() {
			time.Sleep(time.Millisecond)
		}
	})
	b := open(t, options{config: func(c *broker.Config) { c.MaxStore = 1 << 20 }}, spec{name: "t", to: s})
	taken, code := 0, 0
	for ; code != http.StatusServiceUnavailable && taken < 1000; taken++ {
		code, _ = post(t, b.URL(), "x", fmt.Sprint(taken), "Ce-Padding", strings.Repeat("x", 8000))
	}
	if status, _ := get(t, b.URL()+"/healthz"); status != http.StatusServiceUnavailable || taken < 20 {
		t.Errorf("%d events taken, then healthz %d", taken, status)
	}
	up.Store(true)
	for end := time.Now().Add(30 * time.Second); b.Trouble() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(b.Trouble())
		}
	}
	if code, text := post(t, b.URL(), "x", "after"); code != http.StatusAccepted {
		t.Errorf("with room again: %d %s", code, text)
	}
	quiet(t, b)
	if got := len(s.events()); got != taken {
		t.Errorf("%d events delivered of %d", got, taken)
	}
}

// fill takes the rest of the disk.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size >= 1; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	return path
}
