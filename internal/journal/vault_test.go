package journal_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"pitboss/internal/journal"
	"pitboss/test/redistest"
)

const vaultSecret = "a secret of the house, which is long enough"

func clientOf(t *testing.T, url string) *redis.Client {
	t.Helper()
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// before does something before the nth command of a client.
type before struct {
	n, at atomic.Int64
	do    func()
}

func (b *before) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *before) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { b.count(); return next(ctx, cmd) }
}

func (b *before) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { b.count(); return next(ctx, cmds) }
}

func (b *before) count() {
	if b.n.Add(1) == b.at.Load() {
		b.do()
	}
}

func document(request string, size int, until time.Time) journal.Kept {
	return journal.Kept{Request: request, Until: until, Document: []byte(`"` + strings.Repeat("x", size) + `"`)}
}

// What one erasure puts into the vault is not lost to another that comes in between,
// before whichever of its commands.
func TestTheVaultLosesNothingToAnotherWriter(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	rdb := clientOf(t, url)
	mine, other := journal.New(rdb, 1).Vault(vaultSecret), journal.New(clientOf(t, url), 1).Vault(vaultSecret)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	put := func(v *journal.Vault, id string, k journal.Kept) {
		if err := v.Put(t.Context(), id, k); err != nil {
			t.Error(err)
		}
	}
	id := ""
	hook := &before{do: func() { put(other, id, document("other", 20, until.Add(time.Hour))) }}
	rdb.AddHook(hook)
	for n := int64(1); ; n++ {
		id = fmt.Sprint("player-", n)
		hook.n.Store(0)
		hook.at.Store(n)
		put(mine, id, document("mine", 10, until))
		if hook.n.Load() < n {
			if n < 3 {
				t.Fatalf("only %d commands: nothing was put to the test", n-1)
			}
			break
		}
		docs, err := other.Open(t.Context(), id, journal.Opening{By: "carol", Reason: "a test", At: until.Add(-time.Minute)})
		if err != nil || len(docs) != 2 {
			t.Errorf("before command %d: %d documents are kept, %v", n, len(docs), err)
		}
	}
}

// Any documents, put by several writers at once: the longest of each request is
// there afterwards, and stays as long as the last of them must.
func TestTheVaultKeepsTheLongestOfEachRequest(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	rdb := clientOf(t, url)
	journals := make([]*journal.Journal, 3)
	for i := range journals {
		journals[i] = journal.New(clientOf(t, url), 1)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	var runs atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		id := fmt.Sprint("player-", runs.Add(1))
		keys, err := rdb.Keys(t.Context(), "*:w:*").Result()
		if err != nil {
			rt.Fatal(err)
		}
		writers := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) journal.Kept {
			return document(rapid.SampledFrom([]string{"A", "B", "C"}).Draw(rt, "request"), rapid.IntRange(0, 40).Draw(rt, "size"),
				until.Add(time.Duration(rapid.IntRange(0, 5).Draw(rt, "hours"))*time.Hour))
		}), 0, 3), 1, len(journals)).Draw(rt, "writers")
		longest, last := map[string]int{}, time.Time{}
		var wg sync.WaitGroup
		errs := make([]error, len(writers))
		for i, docs := range writers {
			for _, d := range docs {
				longest[d.Request] = max(longest[d.Request], len(d.Document))
			}
			wg.Go(func() {
				for _, d := range docs {
					if errs[i] == nil {
						errs[i] = journals[i].Vault(vaultSecret).Put(t.Context(), id, d)
					}
				}
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				rt.Fatal(err)
			}
		}
		docs, err := journals[0].Vault(vaultSecret).Open(t.Context(), id, journal.Opening{By: "carol", Reason: "a test", At: until.Add(-time.Minute)})
		if err != nil {
			rt.Fatal(err)
		}
		got := map[string]int{}
		for _, d := range docs {
			got[d.Request] = max(got[d.Request], len(d.Document))
			if d.Until.After(last) {
				last = d.Until
			}
			if !bytes.HasPrefix(d.Document, []byte(`"`)) {
				rt.Errorf("%s", d.Document)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(longest) {
			rt.Errorf("kept are %v, put were %v", got, longest)
		}
		now, err := rdb.Keys(t.Context(), "*:w:*").Result()
		if err != nil {
			rt.Fatal(err)
		}
		for _, k := range now {
			if slices.Contains(keys, k) {
				continue
			}
			if ends := rdb.ExpireTime(t.Context(), k).Val(); time.Unix(int64(ends/time.Second), 0).Unix() != last.Unix() {
				rt.Errorf("it is swept at %v, want %v", time.Unix(int64(ends/time.Second), 0), last)
			}
		}
	})
}
