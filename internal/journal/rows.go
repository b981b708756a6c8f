package journal

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// This file is for indexes of the journal, which refer to entries by row in a segment, and
// by shard and sequence number in Redis.

// Ends returns the last sequence number of each shard in the segments up to file.
func Ends(file string) (map[int]uint64, error) {
	meta, err := readMeta(file)
	if err != nil {
		return nil, err
	}
	out := make(map[int]uint64, len(meta.Heads))
	for shard, link := range meta.Heads {
		out[shard] = link.Seq
	}
	return out, nil
}

// entryRow has the columns of a row that an entry is read from.
type entryRow struct {
	Shard int32  `parquet:"shard"`
	Entry []byte `parquet:"entry"`
	Hash  []byte `parquet:"hash"`
}

// EachRow calls visit with a segment's entries, sealed, and their row numbers.
func EachRow(file string, visit func(row uint32, e *Entry) error) error {
	row := uint32(0)
	return Segments{}.each(file, func(shard int, raw, hash []byte) error {
		e, err := parseEntry(shard, raw, hash, nil)
		if err != nil {
			return fmt.Errorf("%s, row %d: %w", file, row, err)
		}
		row++
		return visit(row-1, e)
	})
}

// Rows returns a segment's entries by row number, with the personal parts whose keys exist.
// rows must be sorted, so that each page is read once.
func (j *Journal) Rows(ctx context.Context, file string, rows []uint32) (out []*Entry, err error) {
	err = withSegment(file, func(pf *parquet.File) error {
		first := int64(0)
		for _, group := range pf.RowGroups() {
			end := first + group.NumRows()
			n := 0
			for n < len(rows) && int64(rows[n]) < end {
				n++
			}
			if n > 0 {
				if out, err = j.groupRows(ctx, group, first, rows[:n], out); err != nil {
					return err
				}
			}
			rows, first = rows[n:], end
		}
		if len(rows) > 0 {
			return fmt.Errorf("%w: there is no row %d", ErrNotFound, rows[0])
		}
		return nil
	})
	return out, err
}

// groupRows reads rows of the row group that begins at row first.
func (j *Journal) groupRows(ctx context.Context, group parquet.RowGroup, first int64, rows []uint32, out []*Entry) ([]*Entry, error) {
	r := parquet.NewGenericRowGroupReader[entryRow](group)
	defer r.Close()
	for _, row := range rows {
		if err := r.SeekToRow(int64(row) - first); err != nil {
			return nil, err
		}
		one := make([]entryRow, 1)
		if n, err := r.Read(one); n != 1 {
			return nil, errors.Join(err, io.ErrUnexpectedEOF)
		}
		shard := int(one[0].Shard)
		e, err := parseEntry(shard, one[0].Entry, one[0].Hash, j.opens(ctx, shard))
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// Place identifies an entry in Redis.
type Place struct {
	Shard int
	Seq   uint64
}

// Places returns the entries at places, with the personal parts whose keys exist. An entry
// that Redis no longer has is nil.
func (j *Journal) Places(ctx context.Context, places []Place) ([]*Entry, error) {
	cmds := make([]*redisdb.XMessageSliceCmd, 0, len(places))
	_, err := j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error {
		for _, at := range places {
			cmds = append(cmds, p.XRange(ctx, streamKey(at.Shard), streamID(at.Seq), streamID(at.Seq)))
		}
		return nil
	})
	if err != nil {
		return nil, failed("read", err)
	}
	out := make([]*Entry, len(places))
	for i, c := range cmds {
		if len(c.Val()) == 0 {
			continue
		}
		raw, hash, err := fields(&c.Val()[0])
		if err == nil {
			out[i], err = parseEntry(places[i].Shard, raw, hash, j.opens(ctx, places[i].Shard))
		}
		if err != nil {
			return nil, fmt.Errorf("shard %d, entry %d: %w", places[i].Shard, places[i].Seq, err)
		}
	}
	return out, nil
}

// Since calls visit with the sealed entries of all players' shards after the sequence
// numbers in after, in order within a shard, and advances after. whole is false if Redis no
// longer has some of them.
func (j *Journal) Since(ctx context.Context, after *[player.Shards]uint64, visit func(*Entry) error) (whole bool, err error) {
	const batch = 128 // shards in one round trip
	heads, err := j.Heads(ctx)
	if err != nil {
		return false, err
	}
	whole = true
	var behind []int
	for shard := range heads {
		if heads[shard] > after[shard] {
			behind = append(behind, shard)
		}
	}
	for len(behind) > 0 {
		some := behind[:min(batch, len(behind))]
		behind = behind[len(some):]
		more, gaps, err := j.sinceIn(ctx, some, after, visit)
		if err != nil {
			return false, err
		}
		behind = append(behind, more...)
		whole = whole && !gaps
	}
	for shard := range heads {
		if after[shard] < heads[shard] { // all entries up to the head were dropped
			after[shard], whole = heads[shard], false
		}
	}
	return whole, nil
}

// sinceIn visits the next entries of some shards and returns the shards that may have more.
func (j *Journal) sinceIn(ctx context.Context, shards []int, after *[player.Shards]uint64, visit func(*Entry) error) (more []int, gaps bool, err error) {
	cmds := make([]*redisdb.XMessageSliceCmd, 0, len(shards))
	_, err = j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error {
		for _, s := range shards {
			cmds = append(cmds, p.XRangeN(ctx, streamKey(s), streamID(after[s]+1), "+", page))
		}
		return nil
	})
	if err != nil {
		return nil, false, failed("read", err)
	}
	for i, shard := range shards {
		msgs := cmds[i].Val()
		for m := range msgs {
			raw, hash, err := fields(&msgs[m])
			if err != nil {
				return nil, false, err
			}
			e, err := parseEntry(shard, raw, hash, nil)
			if err == nil {
				err = visit(e)
			}
			if err != nil {
				return nil, false, err
			}
			gaps = gaps || e.Seq != after[shard]+1
			after[shard] = e.Seq
		}
		if len(msgs) == page {
			more = append(more, shard)
		}
	}
	return more, gaps, nil
}

// Heads returns the sequence numbers of the last entries, by shard.
func (j *Journal) Heads(ctx context.Context) (out [player.Shards]uint64, err error) {
	ask := func(p redisdb.Pipeliner, s int) *redisdb.StringCmd { return p.GetRange(ctx, headKey(s), 0, 7) }
	err = ofShards(ctx, j, "heads", 0, player.Shards, ask, func(s int, c *redisdb.StringCmd) error {
		for _, b := range []byte(c.Val()) {
			out[s] = out[s]<<8 | uint64(b)
		}
		return nil
	})
	return out, err
}

// KeyName returns the name of the player's sealing key, which identifies the entries about
// the player, or "" if there are none.
func (j *Journal) KeyName(ctx context.Context, id string) (string, error) {
	b, err := j.rdb.GetRange(ctx, ContactsKey(id), 8, 8+keyNameSize-1).Result()
	return b, failed("key name", err)
}
