package privacy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"pitboss/internal/event"
	"pitboss/internal/feature"
	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/policy"
	"pitboss/test/redistest"
)

// meddler acts before or after a function's commands.
type meddler struct {
	before func()
	fails  func() (before, after bool) // loses a command, or its reply
}

var errLost = errors.New("lost")

// DialHook implements [redis.Hook].
func (m *meddler) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (m *meddler) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return m.around(func() error { return next(ctx, cmd) }, cmd)
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (m *meddler) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return m.around(func() error { return next(ctx, cmds) }, cmds...)
	}
}

func (m *meddler) around(do func() error, cmds ...redis.Cmder) error {
	lose := func() error {
		for _, c := range cmds {
			c.SetErr(errLost)
		}
		return errLost
	}
	var before, after bool
	if m.fails != nil {
		before, after = m.fails()
	}
	if before {
		return lose()
	}
	if m.before != nil {
		m.before()
	}
	err := do()
	if after {
		return lose()
	}
	return err
}

// exclude folds an exclusion into the player's state, as profile does.
func exclude(t *testing.T, f *Function, id string) {
	t.Helper()
	fold(t, f, request(t, id, event.TypeExcluded, event.Excluded{Scheme: "BetStop"}))
}

func fold(t *testing.T, f *Function, e *ce.Event) {
	t.Helper()
	r, err := event.Parse(e, noon)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.rights.store.Update(t.Context(), e.Subject(), player.Op[feature.State]{Key: r.Key(), At: r.Time.UnixMilli(), Keep: true,
		Fold: func(s *feature.State, _ bool, _ uint8) (player.Effects, error) {
			_, err := f.rights.set.Fold(s, r)
			return player.Effects{}, err
		}})
	if err != nil {
		t.Fatal(err)
	}
}

// held fails the test unless the player is excluded and nothing else is known.
func held(t *testing.T, f *Function, id string) {
	t.Helper()
	record, err := f.rights.journal.LegalHold(t.Context(), id)
	if err != nil || !strings.Contains(string(record), "BetStop") {
		t.Errorf("%s: the legal hold is %q, %v", id, record, err)
	}
	b, err := f.rights.journal.Contacts(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	c, err := policy.ParseContacts(b)
	if err != nil || !c.Hold.Equal(journal.Forever) || len(c.Sent)+len(c.Made) != 0 {
		t.Errorf("%s: the contact history is %+v, %v", id, c, err)
	}
	if _, version, err := f.rights.store.Read(t.Context(), id); err != nil || version != (player.Version{}) {
		t.Errorf("%s: the state is still there, %v", id, err)
	}
}

// atEveryCommand runs an operation on a new player for each of its commands, with between
// before the nth one, and then check. It ends when the operation has fewer commands.
func atEveryCommand(t *testing.T, f, other *Function, name string, between, do, check func(id string)) {
	t.Helper()
	var commands atomic.Int64
	at, id := int64(0), ""
	f.rights.rdb.AddHook(&meddler{before: func() {
		if commands.Add(1) == at {
			between(id)
		}
	}})
	for at = 1; ; at++ {
		id = fmt.Sprint(name, at)
		live(t, other, id)
		commands.Store(0)
		do(id)
		if commands.Load() < at {
			break // there are no more steps
		}
		check(id)
	}
	if at < 6 {
		t.Fatalf("only %d steps: nothing was put to the test", at)
	}
}

// A player asks for an exclusion and an erasure at the same time. Whichever comes first, and
// wherever the other comes in between, the player stays excluded.
func TestAnExclusionDuringAnErasureIsKept(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	f, other := start(t, url), start(t, url)
	atEveryCommand(t, f, other, "torn-", func(id string) { exclude(t, other, id) }, func(id string) {
		e := request(t, id, event.TypePrivacyErase, event.PrivacyRequest{Request: "R"})
		if _, err := f.Handle(t.Context(), *e); err != nil {
			t.Fatal(err)
		}
	}, func(id string) {
		st, version, err := other.rights.store.Read(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if version == (player.Version{}) {
			held(t, f, id)
		} else if len(f.rights.set.Facts(st).Exclusions) != 1 { // it came after the state was gone and began a new one
			t.Errorf("%s: the exclusion is lost", id)
		}
	})
}

// An erasure that fails at any command, or loses any reply, and is repeated, has the same
// result as one that does not fail: only the exclusion is kept.
func TestAnErasureMayEndAnywhere(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	f, other := start(t, url), start(t, url)
	var commands, at atomic.Int64
	var reply atomic.Bool
	f.rights.rdb.AddHook(&meddler{fails: func() (before, after bool) {
		fail := commands.Add(1) == at.Load()
		return fail && !reply.Load(), fail && reply.Load()
	}})
	for _, lost := range []bool{false, true} {
		reply.Store(lost)
		steps := 0
		for n := int64(1); ; n++ {
			id := fmt.Sprintf("cut-%v-%d", lost, n)
			live(t, other, id, request(t, id, event.TypeExcluded, event.Excluded{Scheme: "BetStop"}))
			e := request(t, id, event.TypePrivacyErase, event.PrivacyRequest{Request: id})
			commands.Store(0)
			at.Store(n)
			_, err := f.Handle(t.Context(), *e)
			at.Store(-1)
			if err == nil && commands.Load() < n {
				break
			}
			steps++
			if out, err := f.Handle(t.Context(), *e); err != nil || !strings.Contains(string(out.Data()), `"held":true`) {
				t.Fatalf("%s: repeated: %v %v", id, out, err)
			}
			held(t, f, id)
		}
		if steps < 8 {
			t.Fatalf("only %d steps: nothing was put to the test", steps)
		}
	}
}

// A copy that is made while the player is erased does not stay.
func TestNoCopyOutlivesAnErasure(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	f, other := start(t, url), start(t, url)
	atEveryCommand(t, f, other, "copied-", func(id string) {
		if _, err := other.Handle(t.Context(), *request(t, id, event.TypePrivacyErase, event.PrivacyRequest{Request: "R"})); err != nil {
			t.Error(err)
		}
	}, func(id string) {
		_, err := f.Handle(t.Context(), *request(t, id, event.TypePrivacyExport, event.PrivacyRequest{Request: id}))
		if err != nil && !errors.Is(err, errErased) {
			t.Fatal(err)
		}
	}, func(id string) {
		copied, err := f.rights.journal.Export(t.Context(), id)
		if err == nil && strings.Contains(string(copied), "book") || err != nil && !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("%s: erased before that command: a copy of %d bytes stays, %v", id, len(copied), err)
		}
	})
}

// A dead letter that arrives while its player is erased does not stay, wherever one comes
// between the other's commands. A dead letter of an exclusion does.
func TestNoDeadLetterOutlivesAnErasure(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	erase := func(f *Function, id string) {
		if _, err := f.Handle(t.Context(), *request(t, id, event.TypePrivacyErase, event.PrivacyRequest{Request: "R"})); err != nil {
			t.Error(err)
		}
	}
	keep := func(f *Function, id string) {
		for _, e := range []*ce.Event{request(t, id, event.TypeGameFailed, event.GameFailed{Game: "book", Error: "e"}),
			request(t, id, event.TypeExcluded, event.Excluded{Scheme: "BetStop"})} {
			if _, err := f.rights.journal.KeepDeadLetter(t.Context(), journal.NewDeadLetter(e, "http://team/", 400, "no", noon)); err != nil {
				t.Error(err)
			}
		}
	}
	f, other := start(t, url), start(t, url)
	check := func(id string) {
		t.Helper()
		kept, err := other.rights.rdb.HGetAll(t.Context(), journal.DeadLettersKey).Result()
		if err != nil {
			t.Fatal(err)
		}
		var types []string
		for _, body := range kept {
			var d journal.DeadLetter
			if err := json.Unmarshal([]byte(body), &d); err != nil {
				t.Fatal(err)
			}
			if d.Event.Subject() == id {
				types = append(types, d.Event.Type())
			}
		}
		if !slices.Equal(types, []string{event.TypeExcluded}) {
			t.Errorf("%s: kept are %v, want the exclusion", id, types)
		}
	}
	atEveryCommand(t, f, other, "erasing-", func(id string) { keep(other, id) }, func(id string) { erase(f, id) }, check)
	keeper := start(t, url)
	atEveryCommand(t, keeper, other, "keeping-", func(id string) { erase(other, id) }, func(id string) { keep(keeper, id) }, check)
}

// Two erasures of one player run at once, as when a request is redelivered while it is being
// handled. Only the second sees a permanent exclusion. Wherever that comes in between, the
// player stays excluded for good.
func TestTwoErasuresKeepTheLongerHold(t *testing.T) {
	t.Parallel()
	for name, before := range map[string][]event.Excluded{"free": nil, "excluded for a while": {{Scheme: "GAMSTOP", Until: noon.AddDate(0, 6, 0)}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := redistest.Start(t)
			f, other := start(t, url), start(t, url)
			erase := func(f *Function, id string) {
				if _, err := f.Handle(t.Context(), *request(t, id, event.TypePrivacyErase, event.PrivacyRequest{Request: "R"})); err != nil {
					t.Error(err)
				}
			}
			first := true
			atEveryCommand(t, f, other, "twice-", func(id string) {
				exclude(t, other, id)
				erase(other, id)
				first = false
			}, func(id string) {
				for _, x := range before {
					e := request(t, id, event.TypeExcluded, x)
					e.SetID("before-" + id)
					fold(t, other, e)
				}
				erase(f, id)
			}, func(id string) {
				if first {
					t.Fatalf("%s: nothing came in between", id)
				}
				first = true
				held(t, f, id)
			})
		})
	}
}

// With PRIVACY_WAIT_REPLICAS an erasure succeeds only if a replica has everything that it
// wrote. Wherever the replica is lost, the erasure fails.
func TestAnErasureWaitsForItsReplica(t *testing.T) {
	t.Parallel()
	primary := redistest.New(t)
	replica := redistest.New(t, "--replicaof", strings.Replace(primary.Addr, ":", " ", 1), "--repl-diskless-sync-delay", "0")
	t.Cleanup(replica.Resume)
	f, other := start(t, primary.URL()), start(t, primary.URL())
	for have := int64(0); have < 1; { // until the replica has joined
		var err error
		if have, err = other.rights.rdb.Do(t.Context(), "wait", 1, 1000).Int64(); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	f.rights, err = newRights(f.rights.rdb, f.rights.set, f.rights.segments, "../../models", "", player.Config{WaitReplicas: 1, WaitTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	lost, writes := int64(0), []string{}
	var commands int64
	f.rights.rdb.AddHook(&spy{func(cmd redis.Cmder) {
		if commands++; commands == lost {
			replica.Pause()
		}
		if name := cmd.Name(); commands >= lost && !slices.Contains([]string{"get", "getrange", "smembers", "pttl", "wait", "xrange", "hscan", "exists"}, name) {
			writes = append(writes, fmt.Sprint(cmd.Args()[:min(3, len(cmd.Args()))]))
		}
	}})
	failed := 0
	for lost = 1; ; lost++ {
		id := fmt.Sprint("waits-", lost)
		live(t, other, id, request(t, id, event.TypeExcluded, event.Excluded{Scheme: "BetStop", Until: noon.AddDate(1, 0, 0)}))
		spread(t, other, id)
		commands, writes = 0, nil
		_, err := f.Handle(t.Context(), *request(t, id, event.TypePrivacyErase, event.PrivacyRequest{Request: "R"}))
		replica.Resume()
		if commands < lost {
			break
		}
		if err != nil {
			failed++
		} else if len(writes) > 0 {
			t.Errorf("lost before command %d, and yet it is confirmed: written after were %q", lost, writes)
		}
	}
	if failed < 6 {
		t.Errorf("only %d failed: nothing was put to the test", failed)
	}
}

// spy sees each command, in a pipeline or not.
type spy struct{ look func(redis.Cmder) }

// DialHook implements [redis.Hook].
func (s *spy) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (s *spy) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { s.look(cmd); return next(ctx, cmd) }
}

// ProcessPipelineHook implements [redis.Hook].
func (s *spy) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, c := range cmds {
			s.look(c)
		}
		return next(ctx, cmds)
	}
}
