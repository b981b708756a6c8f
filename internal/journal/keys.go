package journal

import (
	"fmt"
	"strconv"
	"strings"

	"pitboss/internal/player"
)

// Ops is the shard number of entries that are about no player: kill switches
// and the like. Its keys carry the tag {ops}.
const Ops = -1

// Labels is the shard number of the entries that say what came of decisions.
// They come all the time, which those of Ops do not. Their keys carry the tag
// {labels}.
const Labels = -2

func tag(shard int) string {
	switch shard {
	case Ops:
		return "{ops}"
	case Labels:
		return "{labels}"
	}
	return player.ShardTag(shard)
}

// ContactsKey is the key of a player's contact history:
// 8 bytes version · 16 bytes name of the sealing key · what decide wrote.
func ContactsKey(id string) string { return tag(player.Shard(id)) + ":c:" + id }

// StreamKey is the key of a shard's journal.
func StreamKey(shard int) string { return tag(shard) + ":j" }

// HeadKey is the key of the head of a shard's chain: 8 bytes sequence number,
// 32 bytes SHA-256.
func HeadKey(shard int) string { return tag(shard) + ":h" }

// SealPrefix begins the keys that hold a shard's sealing keys.
func SealPrefix(shard int) string { return tag(shard) + ":k:" }

// ReviewKey is the key of a shard's queue of decisions a person must look at,
// by deadline.
func ReviewKey(shard int) string { return tag(shard) + ":v" }

// DocumentKey is the key of a text kept under its hash: policies, feature sets.
func DocumentKey(hash string) string { return "pitboss:document:" + hash }

// DecisionID names the decision that the event with this reply id leads to. It
// begins with the player's shard, so that the journal can find it.
func DecisionID(id, reply string) string {
	return fmt.Sprintf("s%04d-%s", player.Shard(id), reply)
}

// ShardOf is the shard a decision's id names.
func ShardOf(decision string) (int, error) {
	head, _, ok := strings.Cut(decision, "-")
	if head == "ops" {
		return Ops, nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(head, "s"))
	if !ok || err != nil || n < 0 || n >= player.Shards || len(head) != 5 {
		return 0, fmt.Errorf("journal: %q is not a decision's id (s0123-…)", decision)
	}
	return n, nil
}
