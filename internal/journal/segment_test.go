package journal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/redis/go-redis/v9"

	"pitboss/test/redistest"
)

// A large journal is written out in row groups of a bounded size, whatever the
// number of its shards, and read back as if it were one.
func TestALargeSegmentIsWrittenInGroups(t *testing.T) {
	t.Parallel()
	opt, err := redis.ParseURL(redistest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	j, s, ids := New(rdb, 10), Segments{t.TempDir()}, neighbours(2)
	ids = append(ids, "somebody of another shard")
	const entries, size = 600, 64 << 10
	noise, text := rand.NewChaCha8([32]byte{}), make([]byte, size/2) // else an entry is short, being compressed
	for i := range entries {
		id := ids[i%len(ids)]
		_, err := j.Record(t.Context(), id, Anew, func(View) (*Draft, error) {
			_, _ = noise.Read(text)
			open := fmt.Sprintf(`{"decision":%q,"text":"%x"}`, DecisionID(id, fmt.Sprint(i)), text)
			return &Draft{Kind: KindDecision, Time: noon, Open: []byte(open), Personal: []byte(`{}`)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	name, n, err := j.WriteOut(t.Context(), s, 0, noon)
	if err != nil || n != entries {
		t.Fatalf("%d entries, %v", n, err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	var lengths []int
	if err := s.each(name, func(_ int, raw, _ []byte) error { lengths = append(lengths, len(raw)); return nil }); err != nil {
		t.Fatal(err)
	}
	groups := file.RowGroups()
	if len(groups) < 2 {
		t.Errorf("%d row group for %d MB", len(groups), info.Size()>>20)
	}
	for i, group := range groups {
		held := 0
		for _, n := range lengths[:group.NumRows()] {
			held += n
		}
		if lengths = lengths[group.NumRows():]; held > segmentGroup+size {
			t.Errorf("row group %d has %d bytes of entries, want at most %d", i, held, segmentGroup)
		}
	}
	if v, err := j.Verify(t.Context(), s); err != nil || len(v.Findings) > 0 || v.Entries != entries {
		t.Errorf("%+v, %v", v, err)
	}
	if err := rdb.Del(t.Context(), streamKey(7)).Err(); err != nil { // entries are in the segment only
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 300, 598} { // of the first two players, in the first group and the last
		id := ids[i%len(ids)]
		if e, _, err := j.Find(t.Context(), s, DecisionID(id, fmt.Sprint(i))); err != nil || e.Personal == nil {
			t.Errorf("entry %d: %v", i, err)
		}
	}
}
