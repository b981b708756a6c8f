package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// segmentRow is one entry in a Parquet file. The chain consists of entry and hash; the
// other columns repeat the entry's open part for analysts.
type segmentRow struct {
	Shard int32  `parquet:"shard"`
	Seq   int64  `parquet:"seq"`
	Time  int64  `parquet:"time,timestamp(millisecond)"`
	Kind  string `parquet:"kind,dict"`
	Key   string `parquet:"key"`
	Open  string `parquet:"open,zstd"`
	Entry []byte `parquet:"entry"`
	Hash  []byte `parquet:"hash"`
}

// Link is a place in a shard's chain.
type Link struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"` // hex
}

// segmentMeta describes a segment, in the file's key-value metadata.
type segmentMeta struct {
	Number   int          `json:"number"`   // from 1
	Previous string       `json:"previous"` // SHA-256 of the segment before, hex
	Heads    map[int]Link `json:"heads"`    // of every shard, after this segment
}

const (
	metaKey     = "pitboss.segment"
	segmentGlob = "segment-*.parquet"
)

// Segments is the folder of the Parquet files that [Journal.WriteOut] writes.
type Segments struct{ Dir string }

// OpenSegments returns the segments in dir; "" means none. A folder that does not exist is
// refused: it would look like one without segments, so that copies would seem complete and
// chains would seem to begin anew.
func OpenSegments(dir string) (Segments, error) {
	if info, err := os.Stat(dir); dir != "" && (err != nil || !info.IsDir()) {
		return Segments{}, fmt.Errorf("journal: segments: %s is not a folder that can be read: is the storage mounted?", dir)
	}
	return Segments{Dir: dir}, nil
}

// Files lists the segment files in order.
func (s Segments) Files() ([]string, error) {
	if s.Dir == "" {
		return nil, nil
	}
	names, err := filepath.Glob(filepath.Join(s.Dir, segmentGlob))
	if err != nil {
		return nil, fmt.Errorf("journal: segments: %w", err)
	}
	sort.Strings(names)
	return names, nil
}

// last returns the metadata of the newest segment, or zero if there is none.
func (s Segments) last() (segmentMeta, error) {
	names, err := s.Files()
	if err != nil || len(names) == 0 {
		return segmentMeta{Heads: map[int]Link{}}, err
	}
	name := names[len(names)-1]
	meta, err := readMeta(name)
	if err != nil {
		return meta, err
	}
	meta.Previous, err = fileHash(name)
	return meta, err
}

// withSegment opens a segment, calls use and closes it.
func withSegment(name string, use func(*parquet.File) error) error {
	f, err := os.Open(name)
	if err != nil {
		return failed("segment", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return failed("segment", err)
	}
	pf, err := parquet.OpenFile(f, st.Size(), parquet.ReadBufferSize(64<<10))
	if err == nil {
		err = use(pf)
	}
	return failed("segment "+name, err)
}

func readMeta(name string) (m segmentMeta, err error) {
	return m, withSegment(name, func(pf *parquet.File) error {
		text, ok := pf.Lookup(metaKey)
		if !ok {
			return errors.New("it has no " + metaKey)
		}
		return json.Unmarshal([]byte(text), &m)
	})
}

func fileHash(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", failed("segment", err)
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), failed("segment", err)
}

// WriteOut writes all entries that no segment has into a new one, and then drops entries
// older than keep from Redis. keep should be longer than a redelivery may take; 0 drops
// nothing. It returns the file, or "" if there was nothing to write, and the number of its
// entries.
func (j *Journal) WriteOut(ctx context.Context, s Segments, keep time.Duration, now time.Time) (name string, n int, err error) {
	if err := os.MkdirAll(s.Dir, 0o750); err != nil {
		return "", 0, failed("segments", err)
	}
	meta, err := s.last()
	if err != nil {
		return "", 0, err
	}
	meta.Number++
	tmp, err := os.CreateTemp(s.Dir, ".segment-*")
	if err != nil {
		return "", 0, failed("segments", err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	n, drop, err := j.writeSegment(ctx, tmp, &meta, now.Add(-keep))
	if err != nil {
		return "", 0, err
	}
	if n > 0 {
		if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
			return "", 0, failed("segments", err)
		}
		name = filepath.Join(s.Dir, fmt.Sprintf("segment-%08d.parquet", meta.Number))
		if err := os.Link(tmp.Name(), name); err != nil { // fails if another run took the number
			return "", 0, failed("segments", err)
		}
		if err := syncFolder(s.Dir); err != nil { // must be durable before Redis drops the entries
			return "", 0, failed("segments", err)
		}
	}
	if keep > 0 {
		for shard, seq := range drop {
			if err := j.rdb.XTrimMinID(ctx, streamKey(shard), streamID(seq)).Err(); err != nil {
				return name, n, failed("trim", err)
			}
		}
	}
	return name, n, nil
}

// syncFolder makes the name of a new file durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// segmentGroup is the size of a row group in bytes of entries. The writer keeps a group in
// memory, and sealed data hardly compresses. As a single group, 95,000 entries (an hour of
// 26 decisions a second) took more memory than the CronJob may use.
const segmentGroup = 16 << 20

// writeSegment writes the entries after meta's heads. It also returns, by shard, the first
// entry to stay in Redis.
func (j *Journal) writeSegment(ctx context.Context, w io.Writer, meta *segmentMeta, old time.Time) (n int, drop map[int]uint64, err error) {
	pw := parquet.NewGenericWriter[segmentRow](w, parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}))
	shards, err := j.Shards(ctx)
	if err != nil {
		return 0, nil, err
	}
	drop = map[int]uint64{}
	group := 0
	for _, shard := range shards {
		err := j.raw(ctx, shard, 0, func(_ string, raw, hash []byte) error {
			e, err := parseEntry(shard, raw, hash, nil)
			if err != nil {
				return err
			}
			if e.Time.Before(old) {
				drop[shard] = e.Seq + 1
			}
			if e.Seq <= meta.Heads[shard].Seq {
				return nil
			}
			n++
			meta.Heads[shard] = Link{e.Seq, hex.EncodeToString(hash)}
			_, err = pw.Write([]segmentRow{{int32(shard), int64(e.Seq), e.Time.UnixMilli(), e.Kind, e.KeyName, string(e.Open), raw, hash}})
			if group += len(raw); err == nil && group >= segmentGroup {
				group, err = 0, pw.Flush()
			}
			return err
		})
		if err != nil {
			return 0, nil, fmt.Errorf("journal: segment: shard %d: %w", shard, err)
		}
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return 0, nil, failed("segment", err)
	}
	pw.SetKeyValueMetadata(metaKey, string(text))
	return n, drop, failed("segment", pw.Close())
}

// each calls visit with the rows of a segment file, in order.
func (s Segments) each(name string, visit func(shard int, raw, hash []byte) error) error {
	return withSegment(name, func(pf *parquet.File) error {
		for _, group := range pf.RowGroups() {
			if err := visitRows(group, 0, group.NumRows(), visit); err != nil {
				return err
			}
		}
		return nil
	})
}

// of calls visit with a shard's rows of all segments, in order. A segment is written shard
// by shard, so that only its footer and the pages of the shard are read.
func (s Segments) of(shard int, visit func(raw, hash []byte) error) error {
	names, err := s.Files()
	for _, name := range names {
		if err == nil {
			err = visitShard(name, int32(shard), visit)
		}
	}
	return err
}

func visitShard(name string, shard int32, visit func(raw, hash []byte) error) error {
	return withSegment(name, func(pf *parquet.File) error {
		for _, group := range pf.RowGroups() {
			from, to, err := rowsOf(group, shard)
			if err == nil && from < to {
				err = visitRows(group, from, to, func(_ int, raw, hash []byte) error { return visit(raw, hash) })
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// rowsOf returns the range [from, to) of a shard's rows. The index gives the pages, and the
// pages give the rows.
func rowsOf(group parquet.RowGroup, shard int32) (from, to int64, err error) {
	column, ok := group.Schema().Lookup("shard")
	if !ok {
		return 0, 0, errors.New("has no column shard")
	}
	chunk := group.ColumnChunks()[column.ColumnIndex]
	bounds, err := chunk.ColumnIndex()
	if err != nil {
		return 0, 0, err
	}
	offsets, err := chunk.OffsetIndex()
	if err != nil {
		return 0, 0, err
	}
	pages := chunk.Pages()
	defer pages.Close()
	from = -1
	for i := range bounds.NumPages() {
		if bounds.MaxValue(i).Int32() < shard || bounds.MinValue(i).Int32() > shard {
			continue
		}
		if err := pages.SeekToRow(offsets.FirstRowIndex(i)); err != nil {
			return 0, 0, err
		}
		page, err := pages.ReadPage()
		if err != nil {
			return 0, 0, err
		}
		values := make([]parquet.Value, page.NumValues())
		n, err := page.Values().ReadValues(values)
		parquet.Release(page)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		for k, v := range values[:n] {
			if v.Int32() == shard {
				to = offsets.FirstRowIndex(i) + int64(k) + 1
				if from < 0 {
					from = to - 1
				}
			}
		}
	}
	return max(0, from), to, nil
}

func visitRows(group parquet.RowGroup, from, to int64, visit func(shard int, raw, hash []byte) error) error {
	r := parquet.NewGenericRowGroupReader[segmentRow](group)
	defer r.Close()
	if err := r.SeekToRow(from); err != nil {
		return err
	}
	rows := make([]segmentRow, min(256, to-from))
	for from < to {
		n, err := r.Read(rows[:min(int64(len(rows)), to-from)])
		for i := range rows[:n] {
			if err := visit(int(rows[i].Shard), rows[i].Entry, rows[i].Hash); err != nil {
				return err
			}
		}
		if from += int64(n); err != nil && !errors.Is(err, io.EOF) || n == 0 {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	return nil
}

// Opened calls visit once with every entry from a time on, in segments and in Redis, in
// order within a shard, with the personal parts whose keys exist.
func (j *Journal) Opened(ctx context.Context, s Segments, since time.Time, visit func(*Entry) error) error {
	names, err := s.Files()
	if err != nil {
		return err
	}
	o := opener{j: j, since: since, written: map[int]uint64{}, visit: visit}
	for _, name := range names {
		if err := s.each(name, func(shard int, raw, hash []byte) error { return o.take(ctx, shard, raw, hash) }); err != nil {
			return err
		}
	}
	shards, err := j.Shards(ctx)
	for i := 0; err == nil && i < len(shards); i++ {
		shard := shards[i]
		err = j.raw(ctx, shard, o.written[shard]+1, func(_ string, raw, hash []byte) error { return o.take(ctx, shard, raw, hash) })
	}
	return err
}

// opener unseals entries in their order. It caches the keys of one shard.
type opener struct {
	j       *Journal
	since   time.Time
	written map[int]uint64 // by shard: the last entry in segments
	visit   func(*Entry) error

	shard int
	keys  keyring // of shard; nil before the first entry
}

func (o *opener) take(ctx context.Context, shard int, raw, hash []byte) error {
	seq, at, _, err := place(raw)
	if err != nil {
		return err
	}
	o.written[shard] = seq
	if at.Before(o.since) {
		return nil
	}
	if o.keys == nil || o.shard != shard {
		o.shard, o.keys = shard, o.j.opens(ctx, shard).once()
	}
	e, err := parseEntry(shard, raw, hash, o.keys)
	if err != nil {
		return err
	}
	return o.visit(e)
}

// written looks up a decision in the segments, as [Journal.Find] does in Redis.
func (s Segments) written(ctx context.Context, j *Journal, shard int, decision string) (found *Entry, about []*Entry, err error) {
	err = s.of(shard, func(raw, hash []byte) error {
		e, err := parseEntry(shard, raw, hash, nil)
		switch {
		case err != nil:
			return err
		case e.isDecision(decision):
			found, err = parseEntry(shard, raw, hash, j.opens(ctx, shard))
			return err
		case e.isAbout(decision):
			about = append(about, e)
		}
		return nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("%w: decision %s", ErrNotFound, decision)
	}
	return found, about, err
}
