package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"pitboss/internal/player"
	"pitboss/test/redistest"
)

// state is a player's value as player.Store writes it, at version n.
func state(n int, text string) (player.Version, string) {
	v := player.Version{3: byte(n>>8) + 1, 4: byte(n), 5: byte(n >> 8), 7: 1}
	return v, string(v[:]) + "\x01\x00\x00" + text
}

// held blocks the first decision of a shard until released, so that others wait.
func held(t *testing.T, j *Journal, id string) (release func()) {
	t.Helper()
	entered, leave := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		_, _ = j.Record(context.Background(), id, Anew, func(View) (*Draft, error) {
			close(entered)
			<-leave
			return nil, nil
		})
	})
	<-entered
	return func() { close(leave); done.Wait() }
}

// waits returns once n calls wait behind the one under way.
func waits(t *testing.T, j *Journal, shard, n int) {
	t.Helper()
	for j.head(shard).calls.Waiting() < n {
		if t.Context().Err() != nil {
			t.Fatal("they never came")
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// What waits together is recorded by one script per player, each decision on
// what the one before it left; a decision that fails or records nothing does not
// hold up the others.
func TestWaitingDecisionsAreOneBatch(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		j := New(rdb, 10)
		ids := neighbours(2)
		put(t, j, ids[0], "first")
		put(t, j, ids[1], "first")
		before, _ := j.Stats()
		release := held(t, j, ids[0])
		var wg sync.WaitGroup
		failed := errors.New("no")
		seqs := make([]uint64, 30)
		for i := range seqs {
			wg.Go(func() {
				var err error
				seqs[i], err = j.Record(t.Context(), ids[i%2], Anew, func(v View) (*Draft, error) {
					switch i {
					case 10:
						return nil, failed
					case 11:
						return nil, nil
					case 12:
						panic("at the disco")
					}
					return &Draft{Kind: KindDecision, Time: noon, Decision: fmt.Sprint(i), Contacts: also(v, "x"),
						Open: fmt.Appendf(nil, `{"decision":"%d"}`, i), Personal: []byte(fmt.Sprint(v.Seq))}, nil
				})
				switch {
				case i == 12 && (err == nil || !strings.Contains(err.Error(), "at the disco")), i == 10 && !errors.Is(err, failed),
					i != 10 && i != 12 && err != nil:
					t.Errorf("call %d: %v", i, err)
				}
			})
		}
		waits(t, j, 7, len(seqs))
		release()
		wg.Wait()
		if after, _ := j.Stats(); after-before != 2 {
			t.Errorf("%d scripts for two players", after-before)
		}
		slices.Sort(seqs)
		for i, seq := range seqs[3:] {
			if seq != uint64(i+3) {
				t.Fatalf("entries %v", seqs)
			}
			if e, err := j.Read(t.Context(), 7, seq); err != nil || string(e.Personal) != fmt.Sprint(seq) {
				t.Errorf("entry %d was decided on as %q, %v", seq, e.Personal, err)
			}
		}
		a, _ := j.Contacts(t.Context(), ids[0])
		b, _ := j.Contacts(t.Context(), ids[1])
		v, err := New(rdb, 1).Verify(t.Context(), Segments{})
		if err != nil || v.Entries != 29 || len(v.Findings) > 0 || len(a)+len(b) != 29 {
			t.Fatalf("%+v, %d and %d contacts, %v", v, len(a), len(b), err)
		}
	})
}

// A state that moves on and stays the same in what matters costs no second
// decision; one that does not, or a contact history that another instance
// changed, does.
func TestALostRaceDecidesAgainOnlyWhereItMatters(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		id := neighbours(1)[0]
		for name, c := range map[string]struct {
			meanwhile func(n int)
			decided   int
		}{
			"nothing": {func(int) {}, 1},
			"the player played on": {func(n int) {
				_, value := state(n, "free, rounds "+fmt.Sprint(n))
				rdb.Set(t.Context(), player.StateKey(id), value, 0)
			}, 1},
			"the player was excluded": {func(n int) {
				_, value := state(n, "excluded")
				rdb.Set(t.Context(), player.StateKey(id), value, 0)
			}, 2},
			"the player was erased":     {func(int) { rdb.Del(t.Context(), player.StateKey(id)) }, 2},
			"another instance recorded": {func(n int) { put(t, New(rdb, 1), id, fmt.Sprint("other", n)) }, 2},
		} {
			t.Run(name, func(t *testing.T) {
				v, value := state(1, "free")
				rdb.Set(t.Context(), player.StateKey(id), value, 0)
				j := New(rdb, 10)
				put(t, j, id, "before")
				decided, last := 0, ""
				for range 10 {
					j.moved.add(true) // as under load: the current state is read first
				}
				_, err := j.Submit(t.Context(), Change{Player: id, Version: player.Version{9}, Decide: func(v View) (*Draft, error) {
					decided++
					last = string(v.State.Bytes)
					if decided == 1 {
						c.meanwhile(2)
					}
					return &Draft{Kind: KindDecision, Time: noon, Open: []byte("{}"), Contacts: also(v, "y")}, nil
				}, Same: func(was, is *State) bool {
					return strings.HasPrefix(string(was.Bytes), "free") == strings.HasPrefix(string(is.Bytes), "free")
				}})
				if err != nil || decided != c.decided {
					t.Errorf("decided %d times, at last on %q; %v", decided, last, err)
				}
				_ = v
			})
		}
	})
}

// What a failover lost is recorded again when its event is delivered again,
// although this process remembers that it was recorded.
func TestARedeliveryOfALostEntryIsRecorded(t *testing.T) {
	t.Parallel()
	srv := redistest.New(t) // keeps nothing over a restart, as a failover without WAIT may
	j := New(client(t, srv.URL()), 10)
	deliver := func() *acknowledged {
		t.Helper()
		a := &acknowledged{Player: "alice", Event: "e1"}
		if err := a.record(j); err != nil {
			t.Fatal(err)
		}
		return a
	}
	if err := (&acknowledged{Player: "alice", Event: "e0"}).record(j); err != nil {
		t.Fatal(err)
	}
	if a := deliver(); !a.Fresh {
		t.Fatalf("%+v", a)
	}
	if a := deliver(); a.Fresh || a.Seq != 2 {
		t.Fatalf("a redelivery: %+v", a)
	}
	srv.Kill()
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	if a := deliver(); !a.Fresh || a.Seq != 1 {
		t.Fatalf("after the failover: %+v", a)
	}
	if v, err := j.Verify(t.Context(), Segments{}); err != nil || v.Entries != 1 || len(v.Findings) > 0 {
		t.Fatalf("%+v, %v", v, err)
	}
}

// A refusal that rests on a history which is no longer there is not final.
func TestARefusalOnAnOldHistoryIsDecidedAnew(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		a, b := New(rdb, 10), New(rdb, 10)
		full := errors.New("there are too many")
		add := func(j *Journal) error {
			_, err := j.Record(t.Context(), "alice", Anew, func(v View) (*Draft, error) {
				if len(v.Contacts.Append(nil)) >= 2 {
					return nil, full
				}
				return &Draft{Kind: KindLink, Time: noon, Contacts: also(v, "x"), Open: []byte(`{}`)}, nil
			})
			return err
		}
		for i, want := range []error{nil, nil, full} {
			if err := add(a); !errors.Is(err, want) {
				t.Fatalf("%d: %v", i, err)
			}
		}
		if err := b.Shred(t.Context(), "alice", false); err != nil { // erased by another instance
			t.Fatal(err)
		}
		if err := add(a); err != nil {
			t.Fatalf("after the erasure: %v", err)
		}
	})
}

// Two instances decide about few players while they play on, one is excluded,
// commands and replies get lost and events are redelivered: every event is
// decided once, chains are whole, caps hold, and nothing is recorded on a
// state from before an exclusion that was committed before it was.
func TestHotPlayersProperty(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	rdb := client(t, url)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		players := rapid.IntRange(1, 3).Draw(rt, "players")
		events := rapid.IntRange(5, 40).Draw(rt, "events")
		limit := rapid.IntRange(1, 20).Draw(rt, "cap")
		excludeAt := rapid.IntRange(0, events).Draw(rt, "exclusion after")
		together := rapid.Bool().Draw(rt, "few shards")
		seed := rapid.Uint64().Draw(rt, "seed")
		var ids []string
		for i := 0; len(ids) < players; i++ {
			if id := fmt.Sprintf("hot-%d-%d", run, i); !together || player.Shard(id)%512 == run%512 {
				ids = append(ids, id)
			}
		}
		h := &hot{t: rt, rdb: rdb, ids: ids, limit: limit, rng: rand.New(rand.NewPCG(seed, 1))}
		for range 2 {
			unreliable := client(t, url)
			unreliable.AddHook(h)
			h.journals = append(h.journals, New(unreliable, 10))
		}
		h.play(events, excludeAt)
		h.check()
	})
}

type hot struct {
	t        *rapid.T
	rdb      redis.UniversalClient
	journals []*Journal
	ids      []string
	limit    int
	mu       sync.Mutex
	rng      *rand.Rand
	answers  sync.Map // decision → sequence number it was answered with
	moves    atomic.Int64
	barred   atomic.Uint64 // entries about ids[0] after this one were recorded after the exclusion
}

var errLost = errors.New("lost")

// DialHook implements [redis.Hook].
func (h *hot) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook loses commands on their way to Redis, and replies on their way back.
func (h *hot) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.chance(50) {
			cmd.SetErr(errLost)
			return errLost
		}
		err := next(ctx, cmd)
		if h.chance(50) {
			cmd.SetErr(errLost)
			return errLost
		}
		return err
	}
}

// ProcessPipelineHook is ProcessHook for several at once.
func (h *hot) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			if h.chance(50) {
				cmd.SetErr(errLost)
			}
		}
		return err
	}
}

func (h *hot) chance(n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rng.IntN(n) == 0
}

// move writes the player's next state; excluded stays excluded.
func (h *hot) move(id string, excluded bool) {
	n := int(h.moves.Add(1))
	text := "free"
	if excluded {
		text = "excluded"
	}
	_, value := state(n, text)
	// Compare and set, as the store does: an exclusion is never lost.
	const script = `local v = redis.call('GET', KEYS[1]) or ''
if string.sub(v, -8) == 'excluded' and string.sub(ARGV[1], -8) ~= 'excluded' then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1`
	if err := h.rdb.Eval(context.Background(), script, []string{player.StateKey(id)}, value).Err(); err != nil {
		panic(err)
	}
}

func (h *hot) play(events, excludeAt int) {
	for _, id := range h.ids {
		h.move(id, false)
	}
	var wg sync.WaitGroup
	for i := range events {
		id := h.ids[i%len(h.ids)]
		if i == excludeAt {
			wg.Go(func() {
				h.move(h.ids[0], true)
				seq, _, err := New(h.rdb, 1).Head(context.Background(), player.Shard(h.ids[0]))
				if err != nil {
					panic(err)
				}
				h.barred.Store(seq + 1)
			})
		}
		wg.Go(func() { h.move(id, false) })
		deliveries := 1
		if h.chance(4) {
			deliveries = 3
		}
		for d := range deliveries {
			wg.Go(func() { h.deliver(h.journals[(i+d)%2], id, DecisionID(id, id+"-event-"+fmt.Sprint(i))) })
		}
	}
	wg.Wait()
}

// deliver decides on an event until it is acknowledged, as the Broker does.
func (h *hot) deliver(j *Journal, id, decision string) {
	for range 1000 {
		seq, err := h.decide(j, id, decision)
		if err != nil {
			continue
		}
		if before, _ := h.answers.LoadOrStore(decision, seq); before != seq {
			panic(fmt.Sprintf("%s is entry %d and %d", decision, before, seq))
		}
		return
	}
	panic("never acknowledged")
}

// decide issues while the player is free and the cap is not reached. Its contact
// history is words: decision=sequence number, and "issued" behind some.
func (h *hot) decide(j *Journal, id, decision string) (uint64, error) {
	var made uint64
	seq, err := j.Submit(context.Background(), Change{Player: id, Version: player.Version{9}, Decide: func(v View) (*Draft, error) {
		made = 0
		contacts := string(v.Contacts.Append(nil))
		for f := range strings.FieldsSeq(contacts) {
			if seq, ok := strings.CutPrefix(f, decision+"="); ok {
				_, err := fmt.Sscan(seq, &made)
				return nil, err
			}
		}
		verdict := ""
		if v.Fresh && strings.HasSuffix(string(v.State.Bytes), "free") && strings.Count(contacts, "issued") < h.limit {
			verdict = "issued "
		}
		return &Draft{Kind: KindDecision, Time: noon, Decision: decision, Personal: []byte("{}"),
			Open:     fmt.Appendf(nil, `{"decision":"%s","verdict":"%s","seq":%d}`, decision, verdict, v.Seq),
			Contacts: also(v, fmt.Sprintf("%s=%d %s", decision, v.Seq, verdict))}, nil
	}, Same: func(was, is *State) bool { return string(was.Bytes) == string(is.Bytes) }})
	if made != 0 {
		seq = made
	}
	return seq, err
}

func (h *hot) check() {
	j := New(h.rdb, 1)
	h.answers.Range(func(decision, seq any) bool {
		shard, err := ShardOf(decision.(string))
		if err != nil {
			h.t.Fatal(err)
		}
		e, err := j.Read(context.Background(), shard, seq.(uint64))
		if err != nil || !strings.Contains(string(e.Open), decision.(string)) || !strings.Contains(string(e.Open), fmt.Sprintf(`"seq":%d}`, seq)) {
			h.t.Fatalf("%s was answered with entry %d: %s %v", decision, seq, e.Open, err)
		}
		return true
	})
	for _, id := range h.ids {
		entries := map[string]int{}
		err := j.Each(context.Background(), player.Shard(id), 0, true, func(e *Entry) error {
			decision, _, _ := strings.Cut(strings.TrimPrefix(string(e.Open), `{"decision":"`), `"`)
			entries[decision]++
			if barred := h.barred.Load(); id == h.ids[0] && barred > 0 && e.Seq >= barred &&
				strings.Contains(decision, id+"-") && strings.Contains(string(e.Open), "issued") {
				return fmt.Errorf("entry %d was issued after the exclusion, which entry %d came after", e.Seq, barred)
			}
			return nil
		})
		if err != nil {
			h.t.Fatal(err)
		}
		for decision, n := range entries {
			if n != 1 {
				h.t.Fatalf("%s has %d entries", decision, n)
			}
		}
		c, err := j.Contacts(context.Background(), id)
		if err != nil || strings.Count(string(c), "issued") > h.limit {
			h.t.Fatalf("%s: %d issued, the cap is %d; %v", id, strings.Count(string(c), "issued"), h.limit, err)
		}
	}
	if v, err := j.Verify(context.Background(), Segments{}); err != nil || len(v.Findings) > 0 {
		h.t.Fatalf("%+v %v", v.Findings, err)
	}
}
