package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/redis/go-redis/v9"

	"pitboss/internal/player"
	"pitboss/test/redistest"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// servers are the kinds of Redis that the journal must work on alike.
var servers = map[string]func(testing.TB) redis.UniversalClient{
	"embedded": func(tb testing.TB) redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: miniredis.RunT(tb).Addr()})
	},
	"server": func(tb testing.TB) redis.UniversalClient {
		opt, err := redis.ParseURL(redistest.Start(tb))
		if err != nil {
			tb.Fatal(err)
		}
		return redis.NewClient(opt)
	},
}

func onEach(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient)) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := start(t)
			t.Cleanup(func() { _ = rdb.Close() })
			test(t, rdb)
		})
	}
}

// put journals a plain decision about a player.
func put(tb testing.TB, j *Journal, id, decision string) uint64 {
	tb.Helper()
	seq, err := j.Record(context.Background(), id, Anew, func(v View) (*Draft, error) {
		return &Draft{Kind: KindDecision, Time: noon, Decision: decision, Contacts: also(v, "x"),
			Open: []byte(`{"decision":"` + decision + `"}`), Personal: []byte(`{"player":"` + id + `"}`)}, nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return seq
}

// also is the contact history of v and what is appended to it.
func also(v View, more string) Bytes { return append(v.Contacts.Append(nil), more...) }

// neighbours are n players of one shard.
func neighbours(n int) []string {
	var out []string
	for i := 0; len(out) < n; i++ {
		if id := fmt.Sprintf("player-%d", i); player.Shard(id) == 7 {
			out = append(out, id)
		}
	}
	return out
}

func TestRecord(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		a, b := New(rdb, 100), New(rdb, 100) // two instances
		ids := neighbours(3)
		for i := range 30 {
			j := a
			if i%2 == 1 {
				j = b
			}
			if seq := put(t, j, ids[i%3], DecisionID(ids[i%3], fmt.Sprint(i))); seq != uint64(i+1) {
				t.Fatalf("entry %d has number %d", i+1, seq)
			}
		}
		if c, err := a.Contacts(t.Context(), ids[0]); err != nil || string(c) != "xxxxxxxxxx" {
			t.Fatalf("contacts %q, %v", c, err)
		}
		e, err := b.Read(t.Context(), 7, 5)
		if err != nil || !strings.Contains(string(e.Open), DecisionID(ids[1], "4")) || string(e.Personal) != `{"player":"`+ids[1]+`"}` {
			t.Fatalf("%+v %v", e, err)
		}
		v, err := a.Verify(t.Context(), Segments{})
		if err != nil || v.Entries != 30 || len(v.Findings) != 0 {
			t.Fatalf("%+v %v", v, err)
		}
	})
}

// A state that changes between decision and record is handed to the next try.
func TestRecordOnChangedState(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		j := New(rdb, 10)
		id := neighbours(1)[0]
		state := "\x00\x00\x00\x02abcd\x01\x00\x00state"
		rdb.Set(t.Context(), player.StateKey(id), state, 0)
		tries := 0
		_, err := j.Record(t.Context(), id, player.Version{1}, func(v View) (*Draft, error) {
			tries++
			if tries == 1 {
				if v.Fresh {
					t.Error("fresh at once")
				}
			} else if !v.Fresh || string(v.State.Bytes) != "state" || string(v.State.Version[:]) != state[:8] {
				t.Errorf("%+v", v)
			}
			return &Draft{Kind: KindDecision, Time: noon, Open: []byte("{}")}, nil
		})
		if err != nil || tries != 2 {
			t.Fatalf("%d tries, %v", tries, err)
		}
	})
}

// When states mostly have moved on, the current one is read before the first
// try; when they no longer do, it is not.
func TestRecordReadsAheadWhereStatesMoveOn(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		j := New(rdb, 10)
		id := neighbours(1)[0]
		state := "\x00\x00\x00\x02abcd\x01\x00\x00state"
		rdb.Set(t.Context(), player.StateKey(id), state, 0)
		record := func(version player.Version) (tries int) {
			_, err := j.Record(t.Context(), id, version, func(v View) (*Draft, error) {
				tries++
				if v.Fresh && (string(v.State.Version[:]) != state[:8] || version == v.State.Version) {
					t.Errorf("version %v: %+v", version, v)
				}
				return &Draft{Kind: KindDecision, Time: noon, Open: []byte("{}")}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return tries
		}
		for range 10 {
			record(player.Version{1})
		}
		if n := record(player.Version{1}); n != 1 {
			t.Errorf("%d tries, the state having moved on ten times", n)
		}
		rdb.Del(t.Context(), player.StateKey(id)) // there is no such player any more
		if _, err := j.Record(t.Context(), id, player.Version{1}, func(v View) (*Draft, error) {
			if !v.Fresh || v.State.Version != (player.Version{}) {
				t.Errorf("%+v, of a player who is gone", v)
			}
			return nil, nil
		}); err != nil {
			t.Error(err)
		}
		rdb.Set(t.Context(), player.StateKey(id), state, 0)
		for range 100 {
			record(player.Version([]byte(state[:8])))
		}
		if n := record(player.Version{1}); n != 2 {
			t.Errorf("%d tries, the state not having moved on a hundred times", n)
		}
	})
}

// Long contact histories take the place of others: the memory for all is bounded.
func TestLongHistoriesAreRememberedFewer(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		j := New(rdb, 100) // 100 KB
		record := func(id string, size int) {
			_, err := j.Record(t.Context(), id, Anew, func(View) (*Draft, error) {
				return &Draft{Kind: KindDecision, Time: noon, Open: []byte("{}"), Contacts: Bytes(make([]byte, size))}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for i := range 90 {
			record(fmt.Sprint("short-", i), 10)
		}
		if n := j.players.Len(); n != 90 {
			t.Errorf("%d short histories are remembered", n)
		}
		for range 3 { // over and over: replaced, not added
			for i := range 30 {
				record(fmt.Sprint("long-", i), 10<<10)
			}
		}
		sum := 0
		for _, k := range j.players.Values() {
			sum += len(k.contacts)
		}
		if n := j.players.Len(); n != 10 || int(j.bytes.Load()) != sum {
			t.Errorf("%d long histories are remembered, %d bytes, counted as %d", n, sum, j.bytes.Load())
		}
		if c, err := j.Contacts(t.Context(), "long-0"); err != nil || len(c) != 10<<10 {
			t.Errorf("%d bytes of one that is not, %v", len(c), err)
		}
	})
}

func TestConcurrentRecordsLoseNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		ids := neighbours(2)
		var wg sync.WaitGroup
		const writers, each = 4, 40
		for w := range writers {
			j := New(rdb, 100)
			wg.Go(func() {
				for i := range each {
					for {
						_, err := j.Record(t.Context(), ids[i%2], Anew, func(v View) (*Draft, error) {
							return &Draft{Kind: KindDecision, Time: noon, Contacts: also(v, string(rune(w))), Open: []byte("{}"), Personal: []byte("{}")}, nil
						})
						if errors.Is(err, ErrConflict) {
							continue // the Broker would send it again
						}
						if err != nil {
							t.Error(err)
						}
						break
					}
				}
			})
		}
		wg.Wait()
		j := New(rdb, 1)
		total := 0
		for _, id := range ids {
			c, err := j.Contacts(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			total += len(c)
		}
		v, err := j.Verify(t.Context(), Segments{})
		if err != nil || total != writers*each || v.Entries != writers*each || len(v.Findings) > 0 {
			t.Fatalf("%d contacts, %+v, %v", total, v, err)
		}
	})
}

// tampering is what a verification must find.
var tampering = map[string]struct {
	do   func(ctx context.Context, rdb redis.UniversalClient) error
	want string
}{
	"a removed entry": {func(ctx context.Context, rdb redis.UniversalClient) error {
		return rdb.XDel(ctx, streamKey(7), "5-0").Err()
	}, "removed"},
	"the last entry removed": {func(ctx context.Context, rdb redis.UniversalClient) error {
		return rdb.XDel(ctx, streamKey(7), "9-0").Err()
	}, "head"},
	"the first entry removed": {func(ctx context.Context, rdb redis.UniversalClient) error {
		return rdb.XDel(ctx, streamKey(7), "1-0").Err()
	}, "not here"},
	"a changed entry": {func(ctx context.Context, rdb redis.UniversalClient) error {
		return rewrite(ctx, rdb, func(entries [][2]string) {
			raw := []byte(entries[4][0])
			raw[len(raw)-1] ^= 1
			entries[4][0] = string(raw)
		})
	}, "changed"},
	"a changed entry with a matching hash": {func(ctx context.Context, rdb redis.UniversalClient) error {
		return rewrite(ctx, rdb, func(entries [][2]string) {
			raw := []byte(entries[4][0])
			raw[len(raw)-1] ^= 1
			h := link(Hash([]byte(entries[3][1])), raw)
			entries[4] = [2]string{string(raw), string(h[:])}
		})
	}, "changed"},
	"two entries swapped": {func(ctx context.Context, rdb redis.UniversalClient) error {
		return rewrite(ctx, rdb, func(entries [][2]string) { entries[3], entries[4] = entries[4], entries[3] })
	}, "not what it should be"},
	"the head set back": {func(ctx context.Context, rdb redis.UniversalClient) error {
		return rdb.Set(ctx, headKey(7), headBytes(3, Hash{}), 0).Err()
	}, "head"},
	"the head removed": {func(ctx context.Context, rdb redis.UniversalClient) error {
		return rdb.Del(ctx, headKey(7)).Err()
	}, "head"},
}

// rewrite replaces shard 7's stream.
func rewrite(ctx context.Context, rdb redis.UniversalClient, change func([][2]string)) error {
	msgs, err := rdb.XRange(ctx, streamKey(7), "-", "+").Result()
	if err != nil {
		return err
	}
	var entries [][2]string
	for _, m := range msgs {
		entries = append(entries, [2]string{m.Values["e"].(string), m.Values["h"].(string)})
	}
	change(entries)
	if err := rdb.Del(ctx, streamKey(7)).Err(); err != nil {
		return err
	}
	for i, e := range entries {
		if err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: streamKey(7), ID: streamID(uint64(i + 1)), Values: []any{"e", e[0], "h", e[1]}}).Err(); err != nil {
			return err
		}
	}
	return nil
}

func TestVerifyFindsTampering(t *testing.T) {
	t.Parallel()
	for name, c := range tampering {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := servers["embedded"](t)
			j := New(rdb, 10)
			for i, id := range []int{0, 1, 2, 0, 1, 2, 0, 1, 2} {
				put(t, j, neighbours(3)[id], fmt.Sprint(i))
			}
			s := Segments{t.TempDir()}
			if name == "the head removed" { // without a head, only segments know the shard
				if _, _, err := j.WriteOut(t.Context(), s, 0, noon); err != nil {
					t.Fatal(err)
				}
			} else {
				s.Dir = ""
			}
			if v, err := j.Verify(t.Context(), s); err != nil || len(v.Findings) > 0 {
				t.Fatalf("before: %+v %v", v, err)
			}
			if err := c.do(t.Context(), rdb); err != nil {
				t.Fatal(err)
			}
			v, err := j.Verify(t.Context(), s)
			if err != nil || len(v.Findings) == 0 || !strings.Contains(fmt.Sprint(v.Findings), c.want) {
				t.Fatalf("after: %+v %v", v, err)
			}
		})
	}
}

// Decisions are made and written out to segments while the journal is verified:
// that is no tampering.
func TestVerifyingALivingJournalFindsNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		const rounds, each = 10, 30
		s := Segments{t.TempDir()}
		id := neighbours(1)[0]
		for round := range rounds {
			var working sync.WaitGroup
			working.Go(func() {
				for i := range each {
					put(t, New(rdb, 10), id, DecisionID(id, fmt.Sprint(round, i)))
				}
			})
			working.Go(func() {
				if _, _, err := New(rdb, 10).WriteOut(t.Context(), s, time.Second, noon.Add(2*time.Second)); err != nil {
					t.Error(err)
				}
			})
			v, err := New(rdb, 10).Verify(t.Context(), s)
			working.Wait()
			if err != nil || len(v.Findings) > 0 || v.Entries < round*each {
				t.Fatalf("round %d: %+v, %v", round, v, err)
			}
		}
	})
}

func TestSegments(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := t.Context()
		j, s := New(rdb, 10), Segments{t.TempDir()}
		ids := neighbours(2)
		for i := range 10 {
			put(t, j, ids[i%2], DecisionID(ids[i%2], fmt.Sprint(i)))
		}
		name, n, err := j.WriteOut(ctx, s, time.Hour, noon.Add(2*time.Hour))
		if err != nil || n != 10 || name == "" {
			t.Fatalf("%s %d %v", name, n, err)
		}
		if _, err := j.Read(ctx, 7, 3); !errors.Is(err, ErrNotFound) {
			t.Fatalf("still in Redis: %v", err)
		}
		for i := 10; i < 15; i++ {
			put(t, j, ids[i%2], DecisionID(ids[i%2], fmt.Sprint(i)))
		}
		if _, n, err = j.WriteOut(ctx, s, 0, noon); err != nil || n != 5 {
			t.Fatalf("%d %v", n, err)
		}
		if name, n, err := j.WriteOut(ctx, s, 0, noon); err != nil || n != 0 || name != "" {
			t.Fatalf("%s %d %v", name, n, err)
		}
		put(t, j, ids[0], DecisionID(ids[0], "15"))
		v, err := j.Verify(ctx, s)
		if err != nil || len(v.Findings) > 0 || v.Entries != 16 || v.Segments != 2 {
			t.Fatalf("%+v %v", v, err)
		}
		e, _, err := j.Find(ctx, s, DecisionID(ids[0], "2"))
		if err != nil || e.Seq != 3 || e.Personal == nil {
			t.Fatalf("%+v %v", e, err)
		}
		if err := j.Shred(ctx, ids[0], false); err != nil {
			t.Fatal(err)
		}
		e, _, err = j.Find(ctx, s, DecisionID(ids[0], "2"))
		if err != nil || e.Personal != nil {
			t.Fatalf("readable after the key was destroyed: %+v %v", e, err)
		}
		if v, err := j.Verify(ctx, s); err != nil || len(v.Findings) > 0 {
			t.Fatalf("shredding broke the chain: %+v %v", v, err)
		}
		count := 0
		if err := j.Opened(ctx, s, time.Time{}, func(*Entry) error { count++; return nil }); err != nil || count != 16 {
			t.Fatalf("%d entries, %v", count, err)
		}
		if err := os.Remove(filepath.Join(s.Dir, "segment-00000001.parquet")); err != nil {
			t.Fatal(err)
		}
		if v, err := j.Verify(ctx, s); err != nil || !strings.Contains(fmt.Sprint(v.Findings), "segment before it is missing") {
			t.Fatalf("%+v %v", v, err)
		}
	})
}

// A player's copy has every entry about them, wherever it is: in segments, in
// both, or in Redis alone; none of another player's of the shard; and it is told
// where some are missing.
func TestAboutReadsSegmentsAndRedis(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, j, s := t.Context(), New(rdb, 8), Segments{Dir: t.TempDir()}
		ids := neighbours(2)
		others := []string{}
		for i := 0; len(others) < 300; i++ { // of other shards, so that a segment has many
			if id := fmt.Sprint("other", i); player.Shard(id) != player.Shard(ids[0]) {
				others = append(others, id)
			}
		}
		number := 0
		some := func() {
			for _, id := range append([]string{ids[0], ids[1], ids[0]}, others...) {
				number++
				put(t, j, id, DecisionID(id, fmt.Sprint(number)))
			}
		}
		write := func(keep time.Duration) {
			if _, n, err := j.WriteOut(ctx, s, keep, noon.Add(2*time.Hour)); err != nil || n != 303 {
				t.Fatal(n, err)
			}
		}
		read := func(from Segments) (seqs []uint64, whole bool) {
			whole, err := j.About(ctx, from, ids[0], func(e *Entry) error {
				if e.Personal == nil || e.Hash == (Hash{}) {
					t.Fatalf("entry %d is sealed, or without its hash", e.Seq)
				}
				seqs = append(seqs, e.Seq)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return seqs, whole
		}
		some()
		write(time.Hour) // in the segment alone
		if seqs, whole := read(Segments{}); len(seqs) != 0 || whole {
			t.Fatalf("without segments: %v, whole: %v", seqs, whole)
		}
		some()
		write(0) // in both
		some()   // in Redis alone
		if seqs, whole := read(s); !slices.Equal(seqs, []uint64{1, 3, 4, 6, 7, 9}) || !whole {
			t.Fatalf("%v, whole: %v", seqs, whole)
		}
		if seqs, whole := read(Segments{}); !slices.Equal(seqs, []uint64{4, 6, 7, 9}) || whole {
			t.Fatalf("without segments: %v, whole: %v", seqs, whole)
		}
		if err := os.Remove(filepath.Join(s.Dir, "segment-00000001.parquet")); err != nil {
			t.Fatal(err)
		}
		if seqs, whole := read(s); !slices.Equal(seqs, []uint64{4, 6, 7, 9}) || whole {
			t.Fatalf("a segment is missing: %v, whole: %v", seqs, whole)
		}
	})
}

// largeSegment writes a segment of many pages: shard i has i%200 rows.
func largeSegment(tb testing.TB, shards int) (s Segments, rows int) {
	tb.Helper()
	s.Dir = tb.TempDir()
	f, err := os.Create(filepath.Join(s.Dir, "segment-00000001.parquet"))
	if err != nil {
		tb.Fatal(err)
	}
	w := parquet.NewGenericWriter[segmentRow](f, parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}))
	for shard := range shards {
		for i := range shard % 200 {
			entry := bytes.Repeat(fmt.Appendf(nil, "%d of %d. ", i, shard), 30)
			if _, err := w.Write([]segmentRow{{Shard: int32(shard), Seq: int64(i + 1), Open: "{}", Entry: entry, Hash: make([]byte, 32)}}); err != nil {
				tb.Fatal(err)
			}
			rows++
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		tb.Fatal(err)
	}
	return s, rows
}

// A shard's rows are found by the index alone, all of them and no others,
// wherever pages begin and end.
func TestShardOfALargeSegment(t *testing.T) {
	t.Parallel()
	s, _ := largeSegment(t, 2000) // 199,000 rows
	for shard := -1; shard <= 2000; shard += 23 {
		i := 0
		err := s.of(shard, func(raw, _ []byte) error {
			if want := fmt.Appendf(nil, "%d of %d. ", i, shard); !bytes.HasPrefix(raw, want) {
				return fmt.Errorf("row %.20q, want %q", raw, want)
			}
			i++
			return nil
		})
		if err != nil || shard >= 0 && shard < 2000 && i != shard%200 {
			t.Fatalf("shard %d: %d rows, %v", shard, i, err)
		}
	}
}

func BenchmarkShardOfASegment(b *testing.B) {
	s, rows := largeSegment(b, 4096)
	for b.Loop() {
		if err := s.of(1999, func(_, _ []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows), "rows")
}

func TestSwitches(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, rdb redis.UniversalClient) {
		j := New(rdb, 1)
		b := j.Board(t.Context())
		for _, on := range []bool{true, false} {
			if err := j.Turn(t.Context(), SwitchChange{Switch: "action/x", On: on, By: "me", Reason: "test", At: noon}); err != nil {
				t.Fatal(err)
			}
			b.refresh(t.Context())
			if names, ok := b.On(); !ok || (len(names) == 1) != on {
				t.Fatalf("%v %v", names, ok)
			}
		}
		var seen []SwitchChange
		err := New(rdb, 1).Each(t.Context(), Ops, 0, true, func(e *Entry) error {
			var c SwitchChange
			seen = append(seen, c)
			return json.Unmarshal(e.Open, &seen[len(seen)-1])
		})
		if err != nil || len(seen) != 2 || !seen[0].On || seen[1].On {
			t.Fatalf("%+v %v", seen, err)
		}
	})
}

func TestBoardIsInDoubtWithoutRedis(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	j := New(redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1}), 1)
	m.Close()
	if names, ok := j.Board(t.Context()).Current(t.Context()); ok {
		t.Fatalf("%v", names)
	}
}
