package journal

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// LegalHoldKey is the key of what the law makes the operator keep of an erased
// player: that they are excluded.
func LegalHoldKey(id string) string { return tag(player.Shard(id)) + ":x:" + id }

// ExportKey is the key of a copy of a player's data that waits to be fetched.
func ExportKey(request string) string { return "pitboss:export:" + request }

// exportsKey is the key of the requests whose copies wait to be fetched, so
// that an erasure finds them.
func exportsKey(id string) string { return tag(player.Shard(id)) + ":e:" + id }

// Forever is until when a legal hold is kept that has no end.
var Forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Hold keeps a legal hold until its time is over, unless one that ends later is
// kept already; nil asks for what is kept. It returns until when one is; zero: none.
func (j *Journal) Hold(ctx context.Context, id string, record []byte, until time.Time) (time.Time, error) {
	kept, err := j.heldUntil(ctx, id)
	if err != nil || record == nil || !until.After(kept) {
		return kept, err
	}
	end := "" // the record with its end, in one command: a process that dies must not leave a hold without one
	if until.Before(Forever) {
		end = strconv.FormatInt(until.Unix(), 10)
	}
	if _, err := j.run.Run(ctx, holdScript, []string{LegalHoldKey(id)}, record, end, time.Until(until).Milliseconds()); err != nil {
		return kept, failed("legal hold", err)
	}
	if kept, err = j.heldUntil(ctx, id); kept.IsZero() || err != nil { // its time is over
		return kept, err
	}
	if kept.After(until) {
		return kept, nil // another erasure's
	}
	return until, nil
}

//go:embed lua/hold.lua
var holdLua string

var holdScript = redisdb.NewScript(holdLua)

// heldUntil is until when a legal hold is kept, to about a second.
func (j *Journal) heldUntil(ctx context.Context, id string) (time.Time, error) {
	left, err := j.rdb.PTTL(ctx, LegalHoldKey(id)).Result()
	switch {
	case err != nil:
		return time.Time{}, failed("legal hold", err)
	case left == -2: // there is none
		return time.Time{}, nil
	case left < 0:
		return Forever, nil
	}
	return time.Now().Add(left).UTC().Truncate(time.Second), nil
}

// LegalHold returns what is kept of an erased player; nil: nothing.
func (j *Journal) LegalHold(ctx context.Context, id string) ([]byte, error) {
	return j.get(ctx, "legal hold", LegalHoldKey(id))
}

// Shred destroys the player's sealing key: what is personal in the journal, in
// Redis, in segments and in their copies, can't be read any more. The contact
// history goes too, unless keep is set.
func (j *Journal) Shred(ctx context.Context, id string, keep bool) error {
	defer j.players.Remove(id)
	err := redisdb.Write(ctx, j.run, "del", ranksKey(id))
	var b []byte
	if err == nil {
		b, err = redisdb.Get(ctx, j.run, ContactsKey(id))
	}
	if err == nil && len(b) >= 8+keyNameSize {
		err = redisdb.Write(ctx, j.run, "del", SealPrefix(player.Shard(id))+string(b[8:8+keyNameSize]))
	}
	if err == nil && len(b) > 0 && !keep {
		err = redisdb.Write(ctx, j.run, "del", ContactsKey(id))
	}
	return failed("shred", err)
}

// PutExport keeps a copy of a player's data until it is too old.
func (j *Journal) PutExport(ctx context.Context, id, request string, doc []byte, ttl time.Duration) error {
	_, err := j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error { // the index first: a copy must not be without
		p.SAdd(ctx, exportsKey(id), request)
		p.Expire(ctx, exportsKey(id), ttl)
		return nil
	})
	if err == nil {
		err = j.rdb.Set(ctx, ExportKey(request), doc, ttl).Err()
	}
	return failed("export", err)
}

// DropExports removes the copies of a player's data that wait to be fetched, and
// those of more requests, which the index may have lost.
func (j *Journal) DropExports(ctx context.Context, id string, more ...string) error {
	requests, err := j.rdb.SMembers(ctx, exportsKey(id)).Result()
	requests = append(requests, more...)
	for i := 0; err == nil && i < len(requests); i++ {
		err = redisdb.Write(ctx, j.run, "del", ExportKey(requests[i]))
	}
	if err == nil {
		err = redisdb.Write(ctx, j.run, "del", exportsKey(id))
	}
	return failed("drop exports", err)
}

// Export returns a copy that PutExport kept.
func (j *Journal) Export(ctx context.Context, request string) ([]byte, error) {
	b, err := j.get(ctx, "export", ExportKey(request))
	if b == nil && err == nil {
		err = fmt.Errorf("%w: export %s (never made, or its time is over)", ErrNotFound, request)
	}
	return b, err
}

// Release lifts a legal hold.
func (j *Journal) Release(ctx context.Context, id string) error {
	err := j.rdb.Del(ctx, LegalHoldKey(id), ContactsKey(id)).Err()
	if err == nil {
		j.players.Remove(id)
	}
	return failed("release", err)
}
