package journal_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pitboss/internal/journal"
	"pitboss/internal/player"
	"pitboss/internal/redisdb"
	"pitboss/internal/search"
	"pitboss/test/redistest"
)

// BenchmarkSearch searches a journal of SEARCH_ROWS decisions (default 100,000)
// in segments of up to a million, as `journal write` makes them, from the question to the
// page of 50 with its counts. SEARCH_DIR keeps the segments for the next time.
func BenchmarkSearch(b *testing.B) {
	rows, err := strconv.Atoi(cmpOr(os.Getenv("SEARCH_ROWS"), "100000"))
	if err != nil {
		b.Fatal(err)
	}
	dir := os.Getenv("SEARCH_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	generate(b, dir, rows)
	rdb, err := redisdb.Open(context.Background(), redistest.Start(b))
	if err != nil {
		b.Fatal(err)
	}
	defer rdb.Close()
	x := search.New(journal.New(rdb, 1), journal.Segments{Dir: dir})
	defer x.Close()
	began := time.Now()
	if err := x.Update(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Logf("indexed in %v", time.Since(began).Round(time.Millisecond))
	day := searchNoon.Add(-24 * time.Hour)
	for name, q := range map[string]search.Query{
		"everything":       {},
		"common":           {Jurisdiction: "GB", Verdict: "suppressed"},
		"rare rule":        {Rule: "GB-RULE-39", Brand: "two", Outcome: "accepted"},
		"none":             {Jurisdiction: "SE", Rule: "GB-RULE-1"},
		"an hour of a day": {From: day, To: day.Add(time.Hour), Action: "action_7"},
		"one decision":     {Decision: "s0007-123-0"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p, err := x.Find(context.Background(), q)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(p.Matched), "matched")
				b.ReportMetric(float64(p.Total), "decisions")
			}
		})
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

var searchNoon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// generate writes segments of rows decisions and their outcomes over 30 days.
func generate(b *testing.B, dir string, rows int) {
	b.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "segment-*.parquet"))
	const most = 1_000_000
	numbers := (rows + most - 1) / most
	if len(files) == numbers {
		return
	}
	if len(files) > 0 {
		b.Fatalf("%s has %d segments, not the %d of this journal", dir, len(files), numbers)
	}
	seqs := map[int]uint64{}
	span := 30 * 24 * time.Hour / time.Duration(numbers)
	for n := range numbers {
		from := searchNoon.Add(-span * time.Duration(numbers-n))
		one := min(most, rows-n*most)
		began := time.Now()
		file := filepath.Join(dir, fmt.Sprintf("segment-%08d.parquet", n+1))
		if err := journal.WriteTestSegment(file, n+1, func(write func(*journal.Entry) error) error {
			return entriesOf(rand.New(rand.NewPCG(uint64(n), 1)), n, one, from, span, seqs, write)
		}); err != nil {
			b.Fatal(err)
		}
		wrote := time.Now()
		if err := search.Build(file); err != nil {
			b.Fatal(err)
		}
		b.Logf("segment %d: %d decisions written in %v, indexed in %v", n+1, one, wrote.Sub(began).Round(time.Millisecond), time.Since(wrote).Round(time.Millisecond))
	}
}

// entriesOf makes n decisions, shard by shard, and outcomes of a tenth.
func entriesOf(r *rand.Rand, segment, n int, from time.Time, span time.Duration, seqs map[int]uint64, write func(*journal.Entry) error) error {
	sealed := make([]byte, 200) // what cannot be compressed
	for shard := range player.Shards {
		some := n / player.Shards
		if shard < n%player.Shards {
			some++
		}
		for i := range some {
			at := from.Add(span / time.Duration(some+1) * time.Duration(i+1)).Add(time.Duration(shard) * time.Millisecond)
			id := fmt.Sprintf("s%04d-%d-%d", shard, i, segment)
			for k := range sealed {
				sealed[k] = byte(r.Uint32())
			}
			seqs[shard]++
			e := &journal.Entry{Shard: shard, Seq: seqs[shard], Time: at, Kind: journal.KindDecision, KeyName: fmt.Sprintf("%08x%08x", shard, r.IntN(250)),
				Open: openOf(r, id, at), Personal: sealed}
			if err := write(e); err != nil {
				return err
			}
			if r.IntN(10) > 0 {
				continue
			}
			seqs[shard]++
			status := search.Outcomes[1+r.IntN(4)]
			if err := write(&journal.Entry{Shard: shard, Seq: seqs[shard], Time: at.Add(time.Minute), Kind: journal.KindOutcome,
				Open: fmt.Appendf(nil, `{"decision":%q,"status":%q,"at":%q}`, id, status, at.Format(time.RFC3339))}); err != nil {
				return err
			}
		}
	}
	return nil
}

// openOf is an open part as decide writes one: candidates, what blocked them and
// what every rule said.
func openOf(r *rand.Rand, id string, at time.Time) []byte {
	places, brands := []string{"GB", "SE", "NL", "DE", "MT"}, []string{"one", "two", "three"}
	place := places[r.IntN(len(places))]
	var o strings.Builder
	fmt.Fprintf(&o, `{"decision":%q,"at":%q,"jurisdiction":%q,"brand":%q,"state_version":"%016x","feature_set":"0123456789abcdef","models":[{"name":"leave","version":"v1","sha256":"%064x","output":"leave"}],"result":{`,
		id, at.Format(time.RFC3339Nano), place, brands[r.IntN(3)], r.Uint64(), 77)
	issued := r.IntN(10) == 0
	action := "none"
	if issued {
		action = fmt.Sprintf("action_%d", r.IntN(20))
	}
	fmt.Fprintf(&o, `"issued":%v,"action":%q,"kind":"service","arm":"greedy","propensity":%.6f,"reasons":[{"code":"r","text":"The deposit was declined twice."}],"candidates":[`, issued, action, r.Float64())
	if !issued && r.IntN(2) == 0 {
		rule := fmt.Sprintf("%s-RULE-%d", place, int(40*r.Float64()*r.Float64()))
		fmt.Fprintf(&o, `{"action":"free_spins","kind":"marketing","value":%.2f,"blocked":[{"action":"free_spins","rule":%q,"text":"Marketing needs an opt-in."}]}`, 100*r.Float64(), rule)
	}
	o.WriteString(`],"rules":[`)
	for i := range 12 {
		if i > 0 {
			o.WriteByte(',')
		}
		fmt.Fprintf(&o, `{"rule":"%s-RULE-%d","version":1,"result":"idle"}`, place, i)
	}
	fmt.Fprintf(&o, `],"pack":%q,"policy":"%064x"}}`, place, 99)
	return []byte(o.String())
}
