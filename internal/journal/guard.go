package journal

import (
	"context"
	"errors"
	"time"

	"pitboss/internal/redisdb"
)

// GuardBits is the size of the set of players whom the guard rail of harm has
// counted: with a million of them, one in sixteen others is taken for one.
const GuardBits = 1 << 24

const (
	guardKey     = "{ops}:guard"
	guardSeenKey = "{ops}:guard:seen"
)

// Guard is what the guard rail of harm has found so far, as it wrote it, and the
// set of those whom it counted; nil where it never looked.
func (j *Journal) Guard(ctx context.Context) (found, seen []byte, err error) {
	if found, err = j.GuardFound(ctx); err == nil {
		seen, err = j.get(ctx, "guard", guardSeenKey)
	}
	return found, seen, err
}

// GuardFound is what the guard rail has found so far, without whom it counted; nil
// where it never looked.
func (j *Journal) GuardFound(ctx context.Context) ([]byte, error) {
	return j.get(ctx, "guard", guardKey)
}

// KeepGuard keeps what the guard rail has found, and whom it counted now.
func (j *Journal) KeepGuard(ctx context.Context, found []byte, counted []uint64) error {
	_, err := j.rdb.TxPipelined(ctx, func(p redisdb.Pipeliner) error { // all or nothing: who is in one is in the other
		p.Set(ctx, guardKey, found, 0)
		for _, bit := range counted {
			p.SetBit(ctx, guardSeenKey, int64(bit), 1)
		}
		return nil
	})
	return failed("guard", err)
}

// Lease reports whether the instance called me is the one that does the work
// called name, for so long from now. It keeps a lease that it has.
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
	if err == nil || errors.Is(err, redisdb.Nil) { // it ended just now: another look takes it
		return nil
	}
	return failed("lease", err)
}
