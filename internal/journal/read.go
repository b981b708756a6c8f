package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// ErrNotFound means that the journal in Redis does not have the entry. A segment may have
// it.
var ErrNotFound = errors.New("journal: no such entry")

// Read returns one entry of a shard. It has the personal part unless its key was
// destroyed.
func (j *Journal) Read(ctx context.Context, shard int, seq uint64) (*Entry, error) {
	found, err := j.Places(ctx, []Place{{shard, seq}})
	if err != nil {
		return nil, err
	}
	if found[0] == nil {
		return nil, fmt.Errorf("%w: shard %d, entry %d", ErrNotFound, shard, seq)
	}
	return found[0], nil
}

// opens returns the keyring of a shard.
func (j *Journal) opens(ctx context.Context, shard int) keyring {
	return func(name string) ([]byte, error) { return j.get(ctx, "sealing key", sealPrefix(shard)+name) }
}

func fields(m *redisdb.XMessage) (raw, hash []byte, err error) {
	e, ok := m.Values["e"].(string)
	h, ok2 := m.Values["h"].(string)
	if !ok || !ok2 || len(h) != len(Hash{}) {
		return nil, nil, fmt.Errorf("%w: stream entry %s", ErrFormat, m.ID)
	}
	return []byte(e), []byte(h), nil
}

// page is how many entries are read at a time.
const page = 500

// Each calls visit for a shard's entries from sequence number from on, in order, until
// visit returns an error, which Each returns. With open, personal parts stay sealed, which
// is faster.
func (j *Journal) Each(ctx context.Context, shard int, from uint64, open bool, visit func(*Entry) error) error {
	var keys keyring
	if !open {
		keys = j.opens(ctx, shard).once()
	}
	return j.raw(ctx, shard, from, func(_ string, raw, hash []byte) error {
		e, err := parseEntry(shard, raw, hash, keys)
		if err != nil {
			return err
		}
		return visit(e)
	})
}

// keyring returns the sealing key with a name, or nil if it was destroyed.
type keyring func(name string) ([]byte, error)

// once returns a keyring that caches the keys.
func (k keyring) once() keyring {
	known := map[string][]byte{}
	return func(name string) ([]byte, error) {
		if key, ok := known[name]; ok {
			return key, nil
		}
		key, err := k(name)
		known[name] = key
		return key, err
	}
}

// About calls visit with the entries about a player, in order: those sealed with the
// player's key, and the outcomes, reviews and revocations of these. It reads the segments
// and then Redis. whole is false if entries of the player's shard are missing, because
// they were written out to other segments.
func (j *Journal) About(ctx context.Context, s Segments, id string, visit func(*Entry) error) (whole bool, err error) {
	b, err := j.get(ctx, "about", ContactsKey(id))
	if err != nil || len(b) < 8+keyNameSize {
		return err == nil, err
	}
	shard := player.Shard(id)
	a := about{key: string(b[8 : 8+keyNameSize]), mine: map[string]bool{}, visit: visit, whole: true}
	if a.secret, err = j.opens(ctx, shard)(a.key); err != nil {
		return false, err
	}
	end, _, err := j.Head(ctx, shard)
	if err != nil {
		return false, err
	}
	take := func(raw, hash []byte) error { return a.take(shard, raw, hash) }
	if err := s.of(shard, take); err != nil {
		return false, err
	}
	err = j.raw(ctx, shard, 0, func(_ string, raw, hash []byte) error { return take(raw, hash) })
	return a.whole && a.last >= end, err
}

// DecisionsOf returns a player's decisions up to a time (zero: all), the newest first and at
// most max. whole is as for [Journal.About].
func (j *Journal) DecisionsOf(ctx context.Context, s Segments, id string, until time.Time, max int) (newest []*Entry, whole bool, err error) {
	whole, err = j.About(ctx, s, id, func(e *Entry) error {
		if e.Kind != KindDecision || !until.IsZero() && e.Time.After(until) {
			return nil
		}
		if newest = append(newest, e); len(newest) > max {
			newest = newest[1:]
		}
		return nil
	})
	slices.Reverse(newest)
	return newest, whole, err
}

// about selects the entries about one player.
type about struct {
	key    string // the name of the player's sealing key
	secret []byte
	mine   map[string]bool // decisions about the player
	last   uint64          // the last sequence number
	whole  bool
	visit  func(*Entry) error
}

func (a *about) take(shard int, raw, hash []byte) error {
	e, err := parseEntry(shard, raw, hash, a.open)
	if err != nil {
		return err
	}
	if e.Seq <= a.last {
		return nil // already seen in a segment
	}
	a.whole = a.whole && e.Seq == a.last+1
	a.last = e.Seq
	var open struct {
		Decision string `json:"decision"`
	}
	if err := json.Unmarshal(e.Open, &open); err != nil {
		return nil //nolint:nilerr // not an object, hence not about a player
	}
	switch {
	case e.KeyName == a.key:
		a.mine[open.Decision] = true
	case open.Decision == "" || !a.mine[open.Decision]:
		return nil
	}
	return a.visit(e)
}

func (a *about) open(name string) ([]byte, error) {
	if name != a.key {
		return nil, nil
	}
	return a.secret, nil
}

// raw calls visit with the stream's unparsed entries, in order.
func (j *Journal) raw(ctx context.Context, shard int, from uint64, visit func(id string, raw, hash []byte) error) error {
	start := streamID(from)
	for {
		msgs, err := j.rdb.XRangeN(ctx, streamKey(shard), start, "+", page).Result()
		if err != nil {
			return failed("read", err)
		}
		for i := range msgs {
			raw, hash, err := fields(&msgs[i])
			if err != nil {
				return err
			}
			if err := visit(msgs[i].ID, raw, hash); err != nil {
				return err
			}
		}
		if len(msgs) < page {
			return nil
		}
		start = "(" + msgs[len(msgs)-1].ID
	}
}

// Head returns the head of a shard's chain, or zero if it has no entry.
func (j *Journal) Head(ctx context.Context, shard int) (seq uint64, hash Hash, err error) {
	b, err := j.get(ctx, "head", headKey(shard))
	if b == nil || err != nil {
		return 0, hash, err
	}
	if len(b) != 8+len(hash) {
		return 0, hash, fmt.Errorf("%w: head of shard %d", ErrFormat, shard)
	}
	copy(hash[:], b[8:])
	return binary.BigEndian.Uint64(b), hash, nil
}

// Shards lists the shards that have entries, including Ops (-1) and Labels (-2).
func (j *Journal) Shards(ctx context.Context) (out []int, err error) {
	ask := func(p redisdb.Pipeliner, s int) *redisdb.IntCmd { return p.Exists(ctx, headKey(s)) }
	err = ofShards(ctx, j, "shards", Labels, player.Shards, ask, func(s int, c *redisdb.IntCmd) error {
		if c.Val() == 1 {
			out = append(out, s)
		}
		return nil
	})
	return out, err
}

// Contacts returns a player's serialized contact history, or nil.
func (j *Journal) Contacts(ctx context.Context, id string) ([]byte, error) {
	b, err := j.get(ctx, "contacts", ContactsKey(id))
	if len(b) < 8+keyNameSize {
		return nil, err
	}
	return b[8+keyNameSize:], err
}

// KeepDocument stores a text under its hash for good, so that decisions made by it can be
// reproduced.
func (j *Journal) KeepDocument(ctx context.Context, hash string, text []byte) error {
	return failed("document", j.rdb.SetNX(ctx, documentKey(hash), text, 0).Err())
}

// Document returns a text by its hash.
func (j *Journal) Document(ctx context.Context, hash string) ([]byte, error) {
	b, err := j.get(ctx, "document", documentKey(hash))
	if b == nil && err == nil {
		err = fmt.Errorf("%w: document %s", ErrNotFound, hash)
	}
	return b, err
}

// isDecision reports whether the entry is the decision with that id.
func (e *Entry) isDecision(id string) bool {
	return e.Kind == KindDecision && strings.Contains(string(e.Open), `"decision":"`+id+`"`)
}

// isAbout reports whether the entry refers to the decision: an outcome, a review or a
// revocation.
func (e *Entry) isAbout(id string) bool {
	return e.Kind != KindDecision && strings.Contains(string(e.Open), `"`+id+`"`)
}

// Find looks up a decision in Redis and then in the segments. It returns its entry, with
// the personal part if its key exists, and the entries that refer to it (outcomes, reviews,
// a revocation), in order. The error is [ErrNotFound] if neither has it.
func (j *Journal) Find(ctx context.Context, s Segments, decision string) (*Entry, []*Entry, error) {
	shard, err := ShardOf(decision)
	if err != nil {
		return nil, nil, err
	}
	var found *Entry
	var about []*Entry
	err = j.Each(ctx, shard, 0, true, func(e *Entry) error {
		switch {
		case e.isDecision(decision):
			found = e
		case e.isAbout(decision):
			about = append(about, e)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if found != nil {
		found, err = j.Read(ctx, shard, found.Seq)
		return found, about, err
	}
	found, before, err := s.written(ctx, j, shard, decision)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range about { // skip those that the segments have too
		if n := len(before); n == 0 || before[n-1].Seq < e.Seq {
			before = append(before, e)
		}
	}
	return found, before, nil
}
