package journal

import (
	"context"
	"encoding/hex"
	"fmt"
)

// Finding is a defect of the journal.
type Finding struct {
	Shard int
	Seq   uint64 // the entry, or the one that should be there
	Where string // a segment file, or redis
	What  string
}

func (f Finding) String() string {
	shard := fmt.Sprintf("shard %04d", f.Shard)
	switch f.Shard {
	case Ops:
		shard = "ops"
	case Labels:
		shard = "labels"
	}
	return fmt.Sprintf("%s, entry %d, in %s: %s", shard, f.Seq, f.Where, f.What)
}

// Verified is the result of a verification.
type Verified struct {
	Shards, Entries, Segments int
	Findings                  []Finding
	// Heads holds the ends of the chains. Kept elsewhere, they show later whether the
	// whole journal was rewritten.
	Heads map[int]Link
}

// chain is the state of verifying one shard's chain.
type chain struct {
	seq   uint64
	hash  Hash
	known bool            // hash is that of entry seq
	seen  map[uint64]Hash // entries of segments that Redis may have too
}

// verification is the state of a verification.
type verification struct {
	out    Verified
	chains map[int]*chain
	first  map[int]uint64 // the oldest entry that Redis still has
}

func (v *verification) chain(shard int) *chain {
	c := v.chains[shard]
	if c == nil {
		c = &chain{known: true, seen: map[uint64]Hash{}}
		v.chains[shard] = c
	}
	return c
}

func (v *verification) find(shard int, seq uint64, where, format string, args ...any) {
	v.out.Findings = append(v.out.Findings, Finding{shard, seq, where, fmt.Sprintf(format, args...)})
}

// Verify follows every chain through the segments in s and through Redis up to its head.
// It finds changed, removed, added and reordered entries. It can't find a change by
// someone who rewrites everything, heads and segments included; for that, keep the returned
// heads elsewhere.
//
// Decisions may be recorded and written out meanwhile.
func (j *Journal) Verify(ctx context.Context, s Segments) (*Verified, error) {
	for try := 1; ; try++ {
		before, err := s.Files()
		if err != nil {
			return nil, err
		}
		v, err := j.verify(ctx, s)
		if err != nil || len(v.Findings) == 0 || try == verifyTries {
			return v, err
		}
		after, err := s.Files()
		if err != nil || len(after) == len(before) {
			return v, err
		}
		// Entries left Redis for a segment that was not there yet: look again.
	}
}

// verifyTries bounds how often Verify starts over because a segment was written meanwhile.
const verifyTries = 3

func (j *Journal) verify(ctx context.Context, s Segments) (*Verified, error) {
	v := &verification{chains: map[int]*chain{}, first: map[int]uint64{}}
	shards, err := j.Shards(ctx)
	if err != nil {
		return nil, err
	}
	for _, shard := range shards {
		if v.first[shard], err = j.oldest(ctx, shard); err != nil {
			return nil, err
		}
	}
	if s.Dir != "" {
		if err := v.segments(s); err != nil {
			return nil, err
		}
	}
	listed := map[int]bool{}
	for _, shard := range shards {
		listed[shard] = true
		if err := j.verifyStream(ctx, v, shard); err != nil {
			return nil, err
		}
	}
	for shard, c := range v.chains {
		if !listed[shard] {
			v.find(shard, c.seq, "redis", "the head of the chain is gone")
		}
	}
	v.out.Shards = len(v.chains)
	v.out.Heads = map[int]Link{}
	for shard, c := range v.chains {
		v.out.Heads[shard] = Link{c.seq, hex.EncodeToString(c.hash[:])}
	}
	return &v.out, nil
}

func (v *verification) segments(s Segments) error {
	names, err := s.Files()
	if err != nil {
		return err
	}
	previous := ""
	for i, name := range names {
		meta, err := readMeta(name)
		if err != nil {
			v.find(0, 0, name, "unreadable: %v", err)
			continue
		}
		if meta.Number != i+1 || meta.Previous != previous {
			v.find(0, 0, name, "the segment before it is missing or was changed")
		}
		if previous, err = fileHash(name); err != nil {
			return err
		}
		err = s.each(name, func(shard int, raw, hash []byte) error {
			v.entry(shard, name, raw, hash)
			return nil
		})
		if err != nil {
			v.find(0, 0, name, "unreadable: %v", err)
		}
		v.out.Segments++
	}
	return nil
}

func (j *Journal) verifyStream(ctx context.Context, v *verification, shard int) error {
	c := v.chain(shard)
	first := true
	visit := func(id string, raw, hash []byte) error {
		e, err := parseEntry(shard, raw, hash, nil)
		if err != nil || streamID(e.Seq) != id {
			v.find(shard, c.seq+1, "redis", "stream entry %s is not what it should be", id)
			c.known = false
			return nil //nolint:nilerr // a finding, not a failure of the verification
		}
		if old, ok := c.seen[e.Seq]; ok && e.Seq <= c.seq { // written out already
			first = false
			if Hash(hash) != old || link(c.seen[e.Seq-1], raw) != old {
				v.find(shard, e.Seq, "redis", "differs from the segment's")
			}
			return nil
		}
		if first && c.seq == 0 && e.Seq > 1 {
			v.find(shard, 1, "redis", "entries 1 to %d are not here: name the folder of segments that has them", e.Seq-1)
			c.seq, c.known = e.Seq-1, false
		}
		first = false
		v.entry(shard, "redis", raw, hash)
		return nil
	}
	var seq uint64
	var hash Hash
	for from := uint64(0); ; from = c.seq + 1 { // repeats while entries are added
		if err := j.raw(ctx, shard, from, visit); err != nil {
			return err
		}
		var err error
		if seq, hash, err = j.Head(ctx, shard); err != nil {
			return err
		}
		if seq <= c.seq || c.seq+1 == from {
			break
		}
	}
	if seq != c.seq || (c.known && hash != c.hash) {
		v.find(shard, seq, "redis", "the chain's head is entry %d, but the last entry found is %d", seq, c.seq)
	}
	return nil
}

// entry checks one entry against the chain so far.
func (v *verification) entry(shard int, where string, raw, hash []byte) {
	v.out.Entries++
	c := v.chain(shard)
	e, err := parseEntry(shard, raw, hash, nil)
	if err != nil || len(hash) != len(Hash{}) {
		v.find(shard, c.seq+1, where, "unreadable: %v", err)
		c.known = false
		return
	}
	switch {
	case e.Seq <= c.seq:
		v.find(shard, e.Seq, where, "out of order: it comes after entry %d", c.seq)
	case e.Seq > c.seq+1:
		v.find(shard, c.seq+1, where, "removed: after entry %d comes %d", c.seq, e.Seq)
	case c.known && link(c.hash, raw) != Hash(hash):
		v.find(shard, e.Seq, where, "changed: its hash is not that of the entry before it and its bytes")
	}
	c.seq, c.hash, c.known = e.Seq, Hash(hash), true
	if oldest := v.first[shard]; oldest > 0 && e.Seq+1 >= oldest { // Redis has this entry or the next one
		c.seen[e.Seq] = c.hash
	}
}

// oldest returns the sequence number of the first entry in Redis, or 0 if there is none.
func (j *Journal) oldest(ctx context.Context, shard int) (uint64, error) {
	msgs, err := j.rdb.XRangeN(ctx, streamKey(shard), "-", "+", 1).Result()
	if err != nil {
		return 0, fmt.Errorf("journal: read: %w", err)
	}
	if len(msgs) == 0 {
		return 0, nil
	}
	var seq uint64
	if _, err := fmt.Sscanf(msgs[0].ID, "%d-0", &seq); err != nil {
		return 0, nil //nolint:nilerr // not one of ours: verification reports it
	}
	return seq, nil
}
