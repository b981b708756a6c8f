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

// LegalHoldKey returns the key of an erased player's legal hold. The law requires the
// operator to remember that the player is excluded.
func LegalHoldKey(id string) string { return tag(player.Shard(id)) + ":x:" + id }

// exportKey returns the key of a copy of a player's data that waits to be fetched.
func exportKey(request string) string { return "pitboss:export:" + request }

// exportsKey returns the key of the set of a player's requests whose copies wait to be
// fetched, so that an erasure finds them.
func exportsKey(id string) string { return tag(player.Shard(id)) + ":e:" + id }

// Forever is the end of a legal hold without an end.
var Forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Hold keeps a legal hold until a time, unless one that ends later is kept already. With a
// nil record it only reads. It returns the end of the hold that is kept, or zero if there
// is none.
func (j *Journal) Hold(ctx context.Context, id string, record []byte, until time.Time) (time.Time, error) {
	kept, err := j.heldUntil(ctx, id)
	if err != nil || record == nil || !until.After(kept) {
		return kept, err
	}
	end := "" // record and end are set in one command: a crash must not leave a hold without an end
	if until.Before(Forever) {
		end = strconv.FormatInt(until.Unix(), 10)
	}
	if _, err := j.run.Run(ctx, holdScript, []string{LegalHoldKey(id)}, record, end, time.Until(until).Milliseconds()); err != nil {
		return kept, failed("legal hold", err)
	}
	if kept, err = j.heldUntil(ctx, id); kept.IsZero() || err != nil { // it has already ended
		return kept, err
	}
	if kept.After(until) {
		return kept, nil // another erasure keeps a longer one
	}
	return until, nil
}

//go:embed lua/hold.lua
var holdLua string

var holdScript = redisdb.NewScript(holdLua)

// heldUntil returns the end of the legal hold, to about a second, or zero if there is none.
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

// LegalHold returns the legal hold of an erased player, or nil.
func (j *Journal) LegalHold(ctx context.Context, id string) ([]byte, error) {
	return j.get(ctx, "legal hold", LegalHoldKey(id))
}

// Shred destroys the player's sealing key. Then the personal parts of the journal can't be
// read any more, in Redis, in segments or in copies of them. It also deletes the contact
// history, unless keep is set.
func (j *Journal) Shred(ctx context.Context, id string, keep bool) error {
	defer j.players.Remove(id)
	err := redisdb.Write(ctx, j.run, "del", ranksKey(id))
	var b []byte
	if err == nil {
		b, err = redisdb.Get(ctx, j.run, ContactsKey(id))
	}
	if err == nil && len(b) >= 8+keyNameSize {
		err = redisdb.Write(ctx, j.run, "del", sealPrefix(player.Shard(id))+string(b[8:8+keyNameSize]))
	}
	if err == nil && len(b) > 0 && !keep {
		err = redisdb.Write(ctx, j.run, "del", ContactsKey(id))
	}
	return failed("shred", err)
}

// PutExport keeps a copy of a player's data for ttl.
func (j *Journal) PutExport(ctx context.Context, id, request string, doc []byte, ttl time.Duration) error {
	_, err := j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error { // the index first: an erasure must find every copy
		p.SAdd(ctx, exportsKey(id), request)
		p.Expire(ctx, exportsKey(id), ttl)
		return nil
	})
	if err == nil {
		err = j.rdb.Set(ctx, exportKey(request), doc, ttl).Err()
	}
	return failed("export", err)
}

// DropExports removes the copies of a player's data that wait to be fetched, and those of
// further requests that the index may have lost.
func (j *Journal) DropExports(ctx context.Context, id string, more ...string) error {
	requests, err := j.rdb.SMembers(ctx, exportsKey(id)).Result()
	requests = append(requests, more...)
	for i := 0; err == nil && i < len(requests); i++ {
		err = redisdb.Write(ctx, j.run, "del", exportKey(requests[i]))
	}
	if err == nil {
		err = redisdb.Write(ctx, j.run, "del", exportsKey(id))
	}
	return failed("drop exports", err)
}

// Export returns a copy that PutExport kept. The error is [ErrNotFound] if there is none.
func (j *Journal) Export(ctx context.Context, request string) ([]byte, error) {
	b, err := j.get(ctx, "export", exportKey(request))
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
