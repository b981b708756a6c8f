package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"pitboss/internal/cli"
	"pitboss/internal/dataset"
	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/player"
	"pitboss/internal/replay"
	"pitboss/internal/setup"
	"pitboss/internal/simulator"
	"pitboss/test/redistest"
	"pitboss/test/shipped"
)

// system is `pitboss run`, with a real redis-server and no simulated players.
type system struct {
	t      *testing.T
	url    string // the Broker
	ingest string
	page   string // the console
	redis  *redistest.Server
}

func startSystem(t *testing.T) *system {
	t.Helper()
	if os.Getenv("ONNXRUNTIME_LIB") == "" {
		t.Skip("ONNXRUNTIME_LIB is not set: make test sets it (scripts/onnxruntime.sh)")
	}
	s := &system{t: t, redis: redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")}
	addr := func() string {
		port, err := redistest.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	dir := t.TempDir()
	cfg := config{Addr: addr(), IngestAddr: addr(), ConsoleAddr: addr(), RedisURL: s.redis.URL(), ModelsDir: "../../models",
		BrokerFile: "../base/broker.yaml", TriggersDir: "../../triggers", LocalDir: "triggers", DataDir: filepath.Join(dir, "broker")}
	s.url, s.ingest, s.page = "http://"+cfg.Addr, "http://"+cfg.IngestAddr, "http://"+cfg.ConsoleAddr
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, cfg, environ(), io.Discard) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run ended with %v", err)
		}
	})
	s.await("ready", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("run ended early: %v", err)
		default:
		}
		res, err := http.Get(s.url + "/healthz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return s
}

func (s *system) await(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not %s after 60 s: %+v", what, s.stats())
		}
	}
}

func (s *system) stats() (out cli.Stats) {
	s.get(s.url+"/stats", &out)
	return out
}

func (s *system) get(url string, into any) {
	s.t.Helper()
	res, err := http.Get(url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		s.t.Fatalf("%s: %v", url, err)
	}
}

// quiet waits until the Broker has delivered everything, replies included.
func (s *system) quiet() cli.Stats {
	s.t.Helper()
	still := 0
	s.await("quiet", func() bool {
		if s.stats().Pending == 0 {
			still++
		} else {
			still = 0
		}
		return still > 3
	})
	return s.stats()
}

func (s *system) send(events []*ce.Event) replay.Totals {
	s.t.Helper()
	i := 0
	totals, err := replay.Run(context.Background(), replay.Options{Broker: s.url}, func() (*ce.Event, error) {
		if i == len(events) {
			return nil, io.EOF
		}
		i++
		return events[i-1], nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return totals
}

func worldEvents(n int) []*ce.Event {
	w := simulator.New(simulator.Config{Seed: 3, Players: 60, Start: time.Now().Add(-time.Hour), Pace: 20})
	out := make([]*ce.Event, n)
	for i := range out {
		out[i] = w.Next()
	}
	return out
}

// A platform's one POST becomes a recommendation that the consuming team
// receives through its Trigger: the README's curl.
func TestOnePostBecomesARecommendation(t *testing.T) {
	s := startSystem(t)
	body := `{"operation":"deposit","amount":2000,"currency":"GBP","method":"card","error":"declined"}`
	req, _ := http.NewRequest(http.MethodPost, s.ingest, strings.NewReader(body))
	for name, v := range map[string]string{"ce-specversion": "1.0", "ce-type": event.TypePaymentFailed, "ce-source": "/curl", "ce-id": "1",
		"ce-time": time.Now().UTC().Format(time.RFC3339), "ce-subject": "alice", "Content-Type": "application/json"} {
		req.Header.Set(name, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("%v %v", err, res)
	}
	s.await("issued", func() bool { return s.stats().Issued == 1 })
}

// Every event is applied exactly once, through a stop of Redis in the middle;
// sending all of them again changes nothing.
func TestReplayIsExactlyOnceThroughARedisOutage(t *testing.T) {
	s := startSystem(t)
	events := worldEvents(3000)
	s.send(events[:1000])
	s.redis.Kill()
	done := make(chan replay.Totals)
	go func() { done <- s.send(events[1000:]) }()
	time.Sleep(time.Second) // the outage: long enough for retries to be under way
	if err := s.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	if totals := <-done; totals.Accepted != 2000 {
		t.Errorf("accepted %+v, want 2000", totals)
	}
	s.quiet() // every event is folded, and so every reminder set
	s.awaitReminders(events)
	got := s.quiet()
	if got.DeadLetters != 0 || got.Scored == 0 || got.Issued == 0 {
		t.Errorf("after the outage: %+v", got)
	}
	// Not profile's own count: an answer that died with its connection is a
	// fault there, and the event's next delivery a duplicate. The states know.
	before := s.states(events)
	s.checkRounds(events, before)
	s.send(events)
	again := s.quiet()
	if again.Duplicates-got.Duplicates != 3000 {
		t.Errorf("sent again: %d duplicates, want 3000", again.Duplicates-got.Duplicates)
	}
	set := shipped.Features(s.t)
	for id, now := range s.states(events) {
		a, _ := set.Append(nil, before[id])
		b, _ := set.Append(nil, now)
		if !bytes.Equal(a, b) {
			t.Errorf("sending again changed the state of %s", id)
		}
	}
}

// players is the store of the system's Redis.
func (s *system) players() *player.Store[feature.State] {
	s.t.Helper()
	rdb, err := setup.Redis(context.Background(), s.redis.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { rdb.Close() })
	return player.NewStore(rdb, shipped.Features(s.t), player.Config{})
}

// awaitReminders waits until every reminder that is due has been sent: each
// changes its player's state.
func (s *system) awaitReminders(events []*ce.Event) {
	s.t.Helper()
	store := s.players()
	players := map[string]bool{}
	for _, e := range events {
		players[e.Subject()] = true
	}
	s.await("rid of due reminders", func() bool {
		for id := range players {
			all, err := store.Export(context.Background(), id)
			if err != nil {
				s.t.Fatal(err)
			}
			if slices.ContainsFunc(all.Reminders, func(r player.Reminder) bool { return !r.Due.After(time.Now()) }) {
				return false
			}
		}
		return true
	})
}

// states reads the state of every player that the events are about.
func (s *system) states(events []*ce.Event) map[string]*feature.State {
	s.t.Helper()
	store := s.players()
	out := map[string]*feature.State{}
	for _, e := range events {
		if _, known := out[e.Subject()]; known {
			continue
		}
		state, _, err := store.Read(context.Background(), e.Subject())
		if err != nil {
			s.t.Fatal(err)
		}
		out[e.Subject()] = state
	}
	return out
}

// Bad events POSTed straight to the Broker end as dead letters with the
// reason, are never retried, and can be replayed.
func TestBadEventsBecomeDeadLetters(t *testing.T) {
	s := startSystem(t)
	bad := func(change func(*ce.Event)) *ce.Event {
		e := worldEvents(1)[0]
		e.SetID(fmt.Sprint(time.Now().UnixNano()))
		change(e)
		return e
	}
	cases := map[string]*ce.Event{
		event.CodeUnknownType:     bad(func(e *ce.Event) { e.SetType("pitboss.round.invented.v1") }),
		event.CodeNoSubject:       bad(func(e *ce.Event) { e.SetSubject("") }),
		event.CodeSchemaViolation: bad(func(e *ce.Event) { e.DataEncoded = []byte(`{"jurisdiction":"x"}`) }),
		event.CodeFutureTime:      bad(func(e *ce.Event) { e.SetTime(time.Now().Add(time.Hour)) }),
		event.CodeTooDeep: bad(func(e *ce.Event) {
			e.DataEncoded = []byte(`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`)
		}),
	}
	for code, e := range cases {
		if got := s.send([]*ce.Event{e}); got.Accepted != 1 {
			t.Errorf("%s: the Broker answered %+v, want accepted", code, got)
		}
	}
	s.await("dead letters", func() bool { return s.stats().DeadLetters == int64(len(cases)) })
	res, err := http.Get(s.url + "/admin/deadletters")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	list, _ := io.ReadAll(res.Body)
	for code := range cases {
		if !strings.Contains(string(list), code) {
			t.Errorf("no dead letter says %s: %s", code, list)
		}
	}
	if res, err := http.Post(s.url+"/admin/deadletters/replay", "", nil); err != nil || res.StatusCode/100 != 2 {
		t.Fatalf("replay: %v %v", err, res)
	}
	s.await("refused again", func() bool { return s.stats().DeadLetters == int64(len(cases)) })
}

// The real file, where it is at hand: a slice of it, and each player's count
// of rounds equal to the file's.
func TestBustabitSlice(t *testing.T) {
	folder := os.Getenv("PITBOSS_DATA")
	if folder == "" {
		folder = "../../../shared/data"
	}
	file := filepath.Join(folder, "bustabit.csv.gz")
	if _, err := os.Stat(file); err != nil {
		t.Skipf("%s is not here: the data is not part of the project", file)
	}
	s := startSystem(t)
	prelude, events, err := dataset.Load(file, 2000)
	if err != nil {
		t.Fatal(err)
	}
	s.send(prelude)
	base := s.quiet()
	s.send(events)
	got := s.quiet()
	if n := got.Applied - base.Applied; n != 2000 {
		t.Errorf("applied %d of 2000 bets: %+v", n, got)
	}
	s.checkRounds(events, s.states(events))
}

// checkRounds compares each player's folded count of rounds with the events'.
func (s *system) checkRounds(events []*ce.Event, states map[string]*feature.State) {
	s.t.Helper()
	want := map[string]float64{}
	for _, e := range events {
		switch e.Type() {
		case event.TypeRoundSettled:
			want[e.Subject()]++
		case event.TypeRoundRolledback:
			want[e.Subject()]--
		}
	}
	set := shipped.Features(s.t)
	for id, n := range want {
		vector := set.Vector(nil, states[id], states[id].AsOf())
		if got := vector[slices.Index(set.Names(), "rounds_total")]; got != n {
			s.t.Errorf("%s played %v rounds, the state says %v", id, n, got)
		}
	}
}

func TestTheEmbeddedRedisIsNotedWhileItRuns(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "broker")
	url, stop, err := openRedis(config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	noted, err := os.ReadFile(filepath.Join(dir, "redis-url"))
	if err != nil || strings.TrimSpace(string(noted)) != url {
		t.Errorf("noted %q, %v; want %s", noted, err, url)
	}
	stop()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left after the end: %v, %v", left, err)
	}
}

// An event that was acknowledged and came too late to count is shown, by its
// producer, where the producer's team can see it.
func TestTheProducerOfLateEventsIsTold(t *testing.T) {
	s := startSystem(t)
	now := time.Now()
	round := (&sent{data: `{"game":"g","product":"casino","stake":100,"win":0,"currency":"GBP"}`}).with("specversion", "1.0").
		with("type", event.TypeRoundSettled).with("source", "/slow/producer").with("subject", "tortoise")
	for i, at := range []time.Time{now, now.Add(-5 * time.Minute), now.Add(-30 * time.Minute), now.Add(-2 * time.Hour)} {
		e := round.with("id", fmt.Sprint(i)).with("time", at.UTC().Format(time.RFC3339Nano))
		if status := s.post(e.structured(t, s.ingest)); status != http.StatusAccepted {
			t.Fatalf("answered %d", status)
		}
		s.quiet()
	}
	var told struct {
		KeptOut []player.KeptOut `json:"kept_out"`
	}
	s.await("told", func() bool {
		s.get(s.page+"/api/keptout", &told)
		return len(told.KeptOut) > 0 && told.KeptOut[0].Events > 1
	})
	if k := told.KeptOut; len(k) != 1 || k[0].Reason != "late" || k[0].Source != "/slow/producer" || k[0].Events != 2 {
		t.Errorf("%+v, want two late events of /slow/producer", k)
	}
}
