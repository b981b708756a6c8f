package player

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"

	"pitboss/internal/redisdb"
)

// heavy says whether the long runs were asked for.
func heavy() bool { return os.Getenv("PITBOSS_HEAVY") != "" }

// faulty loses commands before they reach Redis, and replies after: what a
// crash or a cut connection at any step looks like from outside.
type faulty struct {
	redisdb.Sender
	before, after float64 // probabilities
}

var errLost = errors.New("connection lost")

func (f faulty) Send(ctx context.Context, key string, cmd redisdb.Cmder, write bool) error {
	if rand.Float64() < f.before {
		cmd.SetErr(errLost)
		return errLost
	}
	err := f.Sender.Send(ctx, key, cmd, write)
	if rand.Float64() < f.after {
		cmd.SetErr(errLost)
		return errLost
	}
	return err
}
