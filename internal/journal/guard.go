package journal

import (
	"context"
	"errors"
	"time"

	"pitboss/internal/redisdb"
)

// GuardBits is the size in bits of the set of players whom the guard rail of harm has
// counted. With a million players in it, one in sixteen others is taken for a member.
const GuardBits = 1 << 24

const (
	guardKey     = "{ops}:guard"
	guardSeenKey = "{ops}:guard:seen"
)

// Guard returns the stored findings of the guard rail of harm and the set of players whom
// it has counted. Both are nil if it has never run.
func (j *Journal) Guard(ctx context.Context) (found, seen []byte, err error) {
	if found, err = j.GuardFound(ctx); err == nil {
		seen, err = j.get(ctx, "guard", guardSeenKey)
	}
	return found, seen, err
}

// GuardFound is Guard without the set of players.
func (j *Journal) GuardFound(ctx context.Context) ([]byte, error) {
	return j.get(ctx, "guard", guardKey)
}

// KeepGuard stores the findings of the guard rail and adds players to the set, atomically.
func (j *Journal) KeepGuard(ctx context.Context, found []byte, counted []uint64) error {
	_, err := j.rdb.TxPipelined(ctx, func(p redisdb.Pipeliner) error { // atomic: a player counts in both or in neither
		p.Set(ctx, guardKey, found, 0)
		for _, bit := range counted {
			p.SetBit(ctx, guardSeenKey, int64(bit), 1)
		}
		return nil
	})
	return failed("guard", err)
}

// Lease acquires or renews a lease: it reports whether the instance me does the work name
// for the duration long from now.
func (j *Journal) Lease(ctx context.Context, name, me string, long time.Duration) (bool, error) {
	key := "{ops}:lease:" + name
	ok, err := j.rdb.SetNX(ctx, key, me, long).Result()
	if err != nil || ok {
		return ok, leaseError(err)
	}
	holder, err := j.rdb.Get(ctx, key).Result()
	if err != nil || holder != me {
		return false, leaseError(err)
	}
	return true, leaseError(j.rdb.Expire(ctx, key, long).Err())
}

func leaseError(err error) error {
	if err == nil || errors.Is(err, redisdb.Nil) { // the lease has just ended: the next call acquires it
		return nil
	}
	return failed("lease", err)
}
