package journal

import (
	"context"
	_ "embed"
	"errors"
	"slices"

	"pitboss/internal/player"
	"pitboss/internal/redisdb"
)

// The accounts of one person are in different slots, so that no script can change two of
// them together. An account's contact history says to whom it is linked, and every
// decision about the account is checked against its history. A person has an index, in a
// slot of its own, of all accounts that were ever linked to it. The index is a superset:
// readers check it against the accounts' histories. So events about links may come twice
// and in any order.

//go:embed lua/link.lua
var linkLua string

var linkScript = redisdb.NewScript(linkLua)

// personKey returns the key of the index of a person's accounts.
func personKey(person string) string { return player.ShardTag(player.Shard(person)) + ":g:" + person }

// Index adds an account to a person's index. The account's contact history must have the
// link already.
func (j *Journal) Index(ctx context.Context, person, id string) error {
	_, err := j.run.Run(ctx, linkScript, []string{personKey(person)}, id)
	return failed("index of a person", err)
}

// Unindex removes an erased account from a person's index.
func (j *Journal) Unindex(ctx context.Context, person, id string) error {
	return failed("index of a person", redisdb.Write(ctx, j.run, "srem", personKey(person), id))
}

// Account is an account of a person as it is in Redis.
type Account struct {
	ID       string
	State    *State // of zero version if there is no such player, or an erased one
	Contacts Bytes
}

// Accounts reads the accounts in the persons' indexes, sorted by id.
func (j *Journal) Accounts(ctx context.Context, persons []string) ([]Account, error) {
	indexes := make([]*redisdb.StringSliceCmd, len(persons))
	_, err := j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error {
		for i, person := range persons {
			indexes[i] = p.SMembers(ctx, personKey(person))
		}
		return nil
	})
	if err != nil {
		return nil, failed("index of a person", err)
	}
	var ids []string
	for _, c := range indexes {
		ids = append(ids, c.Val()...)
	}
	slices.Sort(ids)
	return j.accounts(ctx, slices.Compact(ids))
}

func (j *Journal) accounts(ctx context.Context, ids []string) ([]Account, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	values := make([]*redisdb.StringCmd, 2*len(ids))
	_, err := j.rdb.Pipelined(ctx, func(p redisdb.Pipeliner) error {
		for i, id := range ids {
			values[2*i], values[2*i+1] = p.Get(ctx, player.StateKey(id)), p.Get(ctx, ContactsKey(id))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redisdb.Nil) {
		return nil, failed("linked accounts", err)
	}
	out := make([]Account, len(ids))
	for i, id := range ids {
		raw, err := values[2*i].Bytes()
		if err != nil && !errors.Is(err, redisdb.Nil) {
			return nil, failed("linked account", err)
		}
		history, err := values[2*i+1].Bytes()
		if err != nil && !errors.Is(err, redisdb.Nil) {
			return nil, failed("linked account", err)
		}
		v, state, err := player.ParseValue(raw)
		if err != nil {
			return nil, err
		}
		out[i] = Account{ID: id, State: &State{Version: v, Bytes: state}}
		if len(history) >= 8+keyNameSize {
			out[i].Contacts = history[8+keyNameSize:]
		}
	}
	return out, nil
}
