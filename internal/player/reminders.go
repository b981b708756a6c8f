package player

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"pitboss/internal/redisdb"
)

// Reminder is a reminder of a player.
type Reminder struct {
	Player, Name string
	Due          time.Time
}

// member returns the reminder's member in its shard's sorted set. It contains Due, so that
// a reminder that is set again is another member: finishing the old one can't remove the
// new one.
func (r Reminder) member() string {
	return strconv.FormatInt(r.Due.UnixNano(), 10) + ":" + r.Name + ":" + r.Player
}

func parseMember(m string) (Reminder, bool) {
	due, rest, ok := strings.Cut(m, ":")
	name, player, ok2 := strings.Cut(rest, ":")
	ns, err := strconv.ParseInt(due, 10, 64)
	return Reminder{Player: player, Name: name, Due: time.Unix(0, ns).UTC()}, ok && ok2 && err == nil
}

// appendReminders adds the batch's reminder changes to commit.lua's arguments.
func appendReminders[S any](args []any, player string, batch []*call[S]) ([]any, error) {
	for _, c := range batch {
		if c.err != nil {
			continue
		}
		for _, r := range c.eff.Reminders {
			if strings.Contains(r.Name, ":") {
				return nil, fmt.Errorf("player: reminder %q: the name must not have a colon", r.Name)
			}
			if r.Old.Equal(r.New) {
				continue
			}
			if !r.Old.IsZero() {
				args = append(args, Reminder{player, r.Name, r.Old}.member(), "")
			}
			if !r.New.IsZero() {
				args = append(args, Reminder{player, r.Name, r.New}.member(), ceilMilli(r.New))
			}
		}
	}
	return args, nil
}

// ceilMilli returns t in ms, rounded up, so that a reminder is never early.
func ceilMilli(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// Reminders takes due reminders from all shards. Any number of processes may do so: a
// reminder that one has taken is not given to another before the lease ends.
type Reminders struct {
	rdb   redisdb.Client
	redis redisdb.Sender
}

// NewReminders returns the reminders in rdb.
func NewReminders(rdb redisdb.Client) *Reminders {
	return &Reminders{rdb: rdb, redis: redisdb.NewRunner(rdb)}
}

// probe is how many shards one pipeline asks.
const probe = 512

// Take returns up to max reminders that are due at now. Each stays in Redis and comes due
// again at now + lease, unless [Reminders.Done] removes it, so that others take over from a
// process that dies. Together with an error it returns the reminders that it could take:
// if a node of the cluster is down, only its shards are affected.
func (r *Reminders) Take(ctx context.Context, now time.Time, lease time.Duration, max int) (out []Reminder, first error) {
	failed := func(what string, err error) {
		if err != nil && first == nil {
			first = fmt.Errorf("player: %s reminders: %w", what, err)
		}
	}
	start := rand.N(Shards) // different processes begin at different shards
	for from := 0; from < Shards && len(out) < max && ctx.Err() == nil; from += probe {
		due, err := r.count(ctx, (start+from)%Shards, now)
		failed("probe", err)
		for _, d := range due {
			n := min(d.n, max-len(out))
			if n == 0 {
				break
			}
			taken, err := r.takeShard(ctx, d.shard, now, lease, n)
			failed("take", err)
			out = append(out, taken...)
		}
	}
	return out, first
}

type dueShard struct{ shard, n int }

// count returns the number of due reminders in each of the probe shards from `from` on, as
// far as they answered.
func (r *Reminders) count(ctx context.Context, from int, now time.Time) ([]dueShard, error) {
	until := strconv.FormatInt(now.UnixMilli(), 10)
	pipe := r.rdb.Pipeline()
	cmds := make([]*redisdb.IntCmd, probe)
	for i := range cmds {
		cmds[i] = pipe.ZCount(ctx, ReminderKey((from+i)%Shards), "-inf", until)
	}
	_, err := pipe.Exec(ctx)
	var due []dueShard
	for i, c := range cmds {
		if n := c.Val(); n > 0 { // 0 if the command failed
			due = append(due, dueShard{(from + i) % Shards, int(n)})
		}
	}
	return due, err
}

func (r *Reminders) takeShard(ctx context.Context, shard int, now time.Time, lease time.Duration, max int) ([]Reminder, error) {
	args := append(takeScript.Args(ReminderKey(shard)), now.UnixMilli(), now.Add(lease).UnixMilli(), max)
	reply, err := takeScript.Eval(ctx, r.redis, args)
	if err != nil {
		return nil, err
	}
	members, _ := reply.([]any)
	var out []Reminder
	for _, m := range members {
		if rem, ok := parseMember(fmt.Sprint(m)); ok {
			out = append(out, rem)
		}
	}
	return out, nil
}

// Done removes taken reminders that have been handled.
func (r *Reminders) Done(ctx context.Context, done []Reminder) error {
	if len(done) == 0 {
		return nil
	}
	pipe := r.rdb.Pipeline()
	for _, d := range done {
		pipe.ZRem(ctx, ReminderKey(Shard(d.Player)), d.member())
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("player: remove reminders: %w", err)
	}
	return nil
}
