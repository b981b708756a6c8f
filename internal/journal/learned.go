package journal

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pitboss/internal/learn"
	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

//go:embed lua/learn.lua
var learnLua string

var learnScript = redisdb.NewScript(learnLua)

// rankedMost bounds the number of a player's decisions whose outcomes are remembered.
const rankedMost = 512

// ranksKey returns the key of a player's learned outcomes, by decision and spec. They are
// personal: they expire with the window and go with an erasure.
func ranksKey(id string) string { return tag(player.Shard(id)) + ":l:" + id }

// sumsKey returns the key of a shard's sums. They add up many players and are not personal.
func sumsKey(shard int, spec string) string { return tag(shard) + ":t:" + spec }

// Lesson is what is learned from a decision's outcome.
type Lesson struct {
	Spec     *learn.Spec
	Decision string
	At       time.Time // of the decision
	Now      time.Time
	Action   string
	Rank     int           // of the outcome
	Rows     []*learn.Sums // by rank, from 1 on
	Remember time.Duration // how long outcomes of the decision may come
}

// Learn adds a lesson to the sums and reports whether they changed. Of several outcomes of
// a decision the highest counts, however often and in whatever order they come. Each spec
// (context and rewards) has sums of its own, in which a decision counts anew.
func (j *Journal) Learn(ctx context.Context, id string, l Lesson) (bool, error) {
	w, key := l.Spec.Width(), l.Spec.Key()
	args := []any{l.Decision + " " + key, l.Rank, int(l.Remember.Seconds()) + 1, l.Action, rankedMost, w}
	for _, v := range l.Rows[0].XX {
		args = append(args, v)
	}
	for _, r := range l.Rows {
		for _, v := range r.XY {
			args = append(args, v)
		}
		args = append(args, r.YY)
	}
	keys := []string{ranksKey(id), sumsKey(player.Shard(id), key), player.StateKey(id)}
	v, err := j.run.Run(ctx, learnScript, keys, args...)
	if err != nil {
		return false, failed("learn", err)
	}
	first, changed := v == int64(3), v == int64(1) || v == int64(3)
	if first {
		if err := j.notePending(ctx, l.Spec, &l); err != nil {
			return true, err
		}
	}
	if changed && l.Rows[l.Rank-1].XY[0] != l.Rows[0].XY[0] { // an outcome with a reward
		return true, j.noteDelay(ctx, l.Spec, l.Now.Sub(l.At))
	}
	return changed, nil
}

// Learned returns the sums over all shards, by action.
func (j *Journal) Learned(ctx context.Context, spec *learn.Spec) (map[string]*learn.Sums, error) {
	key, out := spec.Key(), map[string]*learn.Sums{}
	ask := func(p redisdb.Pipeliner, s int) *redisdb.MapStringStringCmd { return p.HGetAll(ctx, sumsKey(s, key)) }
	err := ofShards(ctx, j, "learned", 0, player.Shards, ask, func(_ int, c *redisdb.MapStringStringCmd) error {
		return addFields(spec, out, c.Val())
	})
	return out, err
}

// snapshotFor is how long a snapshot that decide took is kept, as long as the sums. An
// older decision can't be reproduced any more.
const snapshotFor = 400 * 24 * time.Hour

// KeepSnapshot stores a learned snapshot under its hash for snapshotFor, or extends the
// time of one that exists. A candidate, which has no expiry, stays for ever.
func (j *Journal) KeepSnapshot(ctx context.Context, hash string, text []byte) error {
	_, err := j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error {
		p.SetNX(ctx, documentKey(hash), text, snapshotFor)
		p.ExpireGT(ctx, documentKey(hash), snapshotFor)
		return nil
	})
	return failed("snapshot", err)
}

func addFields(spec *learn.Spec, out map[string]*learn.Sums, fields map[string]string) error {
	for field, text := range fields {
		if err := addField(spec, out, field, text); err != nil {
			return fmt.Errorf("%q: %w", field, err)
		}
	}
	return nil
}

// addField adds one of learn.lua's fields: the action, a space, and n, yy, xx3 or xy0.
func addField(spec *learn.Spec, out map[string]*learn.Sums, field, text string) error {
	action, name, _ := strings.Cut(field, " ")
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return err
	}
	sums := out[action]
	if sums == nil {
		sums = spec.NewSums()
		out[action] = sums
	}
	switch name {
	case "n":
		sums.N += v
		return nil
	case "yy":
		sums.YY += v
		return nil
	}
	into := map[string][]int64{"xx": sums.XX, "xy": sums.XY}[name[:min(2, len(name))]]
	i, err := strconv.Atoi(name[min(2, len(name)):])
	if err != nil || i < 0 || i >= len(into) {
		return fmt.Errorf("unknown field")
	}
	into[i] += v
	return nil
}
