package journal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pitboss/internal/player"
	"pitboss/test/redistest"
)

// appenderProcess, set in the environment, makes the test binary a process that
// journals events to the Redis that it names, until it is killed or its standard
// input ends.
const appenderProcess = "PITBOSS_TEST_APPENDER"

func TestMain(m *testing.M) {
	if url := os.Getenv(appenderProcess); url != "" {
		appendEvents(url)
		return
	}
	os.Exit(m.Run())
}

// eventsEach is how many different events about a player are brought, each again
// and again and by every process.
const eventsEach = 150

func killPlayers() []string { return append(neighbours(2), "kill-1", "kill-2") }

// acknowledged is what a process tells of an event, in a line: that it was
// acknowledged, and when it was brought.
type acknowledged struct {
	Call, Return int64 // ns since 1970
	Player       string
	Event        string
	Seq          uint64
	Fresh        bool
	Seen         string // the player's events in the contact history that was decided on, in order
}

const ackFormat = "ack %d %d %s %s %d %t [%s]\n"

func appendEvents(url string) {
	opt, err := redis.ParseURL(url)
	if err != nil {
		panic(err)
	}
	opt.DialTimeout, opt.ReadTimeout, opt.MaxRetries = time.Second, time.Second, 1
	j, ids := New(redis.NewClient(opt), 2), killPlayers()
	var over atomic.Bool
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for !over.Load() {
				a := acknowledged{Call: time.Now().UnixNano(), Player: ids[rand.N(len(ids))], Event: fmt.Sprint("e", rand.N(eventsEach))}
				if err := a.record(j); err != nil {
					time.Sleep(5 * time.Millisecond) // Redis is being started again
					continue
				}
				a.Return = time.Now().UnixNano()
				fmt.Printf(ackFormat, a.Call, a.Return, a.Player, a.Event, a.Seq, a.Fresh, a.Seen)
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	over.Store(true)
	work.Wait()
}

// record journals the event unless the contact history has it: "event=number "
// for each.
func (a *acknowledged) record(j *Journal) error {
	_, err := j.Record(context.Background(), a.Player, Anew, func(v View) (*Draft, error) {
		history := string(v.Contacts.Append(nil))
		a.Seq, a.Fresh, a.Seen = v.Seq, true, ""
		for word := range strings.FieldsSeq(history) {
			event, seq, _ := strings.Cut(word, "=")
			a.Seen += event + " "
			if event == a.Event {
				a.Fresh = false
				if _, err := fmt.Sscan(seq, &a.Seq); err != nil {
					return nil, err
				}
			}
		}
		if !a.Fresh {
			return nil, nil
		}
		return &Draft{Kind: KindDecision, Time: time.Now(), Decision: a.Event, Contacts: Bytes(fmt.Sprintf("%s%s=%d ", history, a.Event, v.Seq)),
			Open: fmt.Appendf(nil, `{"event":%q,"player":%q}`, a.Event, a.Player), Personal: []byte(`{}`)}, nil
	})
	return err
}

// appenders are processes that append, and what they told.
type appenders struct {
	t     *testing.T
	url   string
	alive []*appender
	tell  sync.WaitGroup

	mu   sync.Mutex
	acks []acknowledged
}

type appender struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

func (as *appenders) start() {
	as.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), appenderProcess+"="+as.url)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		as.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		as.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		as.t.Fatal(err)
	}
	as.t.Cleanup(func() { _ = cmd.Process.Kill() })
	as.alive = append(as.alive, &appender{cmd, stdin})
	as.tell.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			a, line := acknowledged{}, lines.Text()
			if _, err := fmt.Sscanf(line, "ack %d %d %s %s %d %t", &a.Call, &a.Return, &a.Player, &a.Event, &a.Seq, &a.Fresh); err != nil || !strings.HasSuffix(line, "]") {
				continue // it was killed while it told
			}
			a.Seen = strings.Trim(line[strings.IndexByte(line, '['):], "[]")
			as.mu.Lock()
			as.acks = append(as.acks, a)
			as.mu.Unlock()
		}
	})
}

// told returns once n more events were acknowledged.
func (as *appenders) told(n int) {
	as.t.Helper()
	count := func() int {
		as.mu.Lock()
		defer as.mu.Unlock()
		return len(as.acks)
	}
	for until := count() + n; count() < until; time.Sleep(time.Millisecond) {
		if as.t.Context().Err() != nil {
			as.t.Fatal("they were never acknowledged")
		}
	}
}

func (as *appenders) killOne() {
	n := rand.N(len(as.alive))
	_ = as.alive[n].cmd.Process.Kill()
	_ = as.alive[n].cmd.Wait()
	as.alive = slices.Delete(as.alive, n, n+1)
}

func (as *appenders) end() {
	for _, a := range as.alive {
		a.stdin.Close()
	}
	as.tell.Wait()
	for _, a := range as.alive {
		_ = a.cmd.Wait()
	}
}

// Processes that append to the same shards are killed at any moment, and Redis is,
// too. The chain stays whole, and what was acknowledged is linearizable: the
// numbers of the entries are the order in which it happened. Each event is there
// once, under the number that everybody was told; whoever appended saw exactly what
// was before; and what was acknowledged before somebody began, they saw.
func TestKilledAppendersLeaveOneHistory(t *testing.T) {
	t.Parallel()
	srv := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
	as := &appenders{t: t, url: srv.URL()}
	for range 3 {
		as.start()
	}
	for i := range 9 {
		as.told(60)
		as.killOne()
		as.start()
		if i%4 == 3 {
			as.told(20)
			srv.Kill()
			if err := srv.Restart(); err != nil {
				t.Fatal(err)
			}
		}
	}
	as.told(60)
	as.end()
	j := New(client(t, srv.URL()), 1)
	v, err := j.Verify(t.Context(), Segments{})
	if err != nil || len(v.Findings) > 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	fresh := 0
	for _, id := range killPlayers() {
		order := as.journaled(j, id)
		mine := slices.DeleteFunc(slices.Clone(as.acks), func(a acknowledged) bool { return a.Player != id })
		for _, a := range mine {
			if a.Fresh {
				fresh++
			}
		}
		oneHistory(t, order, mine)
	}
	if fresh < 200 {
		t.Errorf("%d entries were acknowledged, of %d operations: too few to prove anything", fresh, len(as.acks))
	}
}

// journaled is a player's events by their entries' numbers.
func (as *appenders) journaled(j *Journal, id string) map[uint64]string {
	as.t.Helper()
	order := map[uint64]string{}
	err := j.Each(as.t.Context(), player.Shard(id), 0, true, func(e *Entry) error {
		var event, who string
		if _, err := fmt.Sscanf(string(e.Open), `{"event":%q,"player":%q}`, &event, &who); err != nil {
			return err
		}
		if who == id {
			order[e.Seq] = event
		}
		return nil
	})
	if err != nil {
		as.t.Fatal(err)
	}
	return order
}

// oneHistory fails the test unless one player's operations are explained by the
// order of the entries.
func oneHistory(t *testing.T, order map[uint64]string, acks []acknowledged) {
	t.Helper()
	var events []string
	at := map[string]int{}
	for _, seq := range slices.Sorted(maps.Keys(order)) {
		if _, twice := at[order[seq]]; twice {
			t.Fatalf("%s is journaled twice", order[seq])
		}
		at[order[seq]] = len(events)
		events = append(events, order[seq])
	}
	slices.SortFunc(acks, func(a, b acknowledged) int { return int(a.Return - b.Return) })
	for i, a := range acks {
		if order[a.Seq] != a.Event {
			t.Fatalf("%+v was acknowledged, entry %d is %q", a, a.Seq, order[a.Seq])
		}
		seen := strings.Fields(a.Seen)
		if !slices.Equal(seen, events[:min(len(seen), len(events))]) || a.Fresh && len(seen) != at[a.Event] {
			t.Fatalf("%+v rests on %v; it came after %v", a, seen, events[:at[a.Event]])
		}
		for _, before := range acks[:i] {
			if before.Return < a.Call && before.Event != a.Event && !slices.Contains(seen, before.Event) {
				t.Fatalf("%+v does not see %+v, which was acknowledged before", a, before)
			}
		}
	}
}
