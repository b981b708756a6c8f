package journal

import (
	"fmt"
	"strconv"
	"strings"

	"pitboss/internal/player"
)

// Ops is the shard number of entries that are not about a player, such as kill switches.
// Its keys have the tag {ops}.
const Ops = -1

// Labels is the shard number of the labels of decisions. They are apart from Ops because
// they are written all the time. Their keys have the tag {labels}.
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

// ContactsKey returns the key of a player's contact history:
// 8 bytes version · 16 bytes name of the sealing key · the serialized history.
func ContactsKey(id string) string { return tag(player.Shard(id)) + ":c:" + id }

// streamKey returns the key of a shard's journal.
func streamKey(shard int) string { return tag(shard) + ":j" }

// headKey returns the key of the head of a shard's chain: 8 bytes sequence number,
// 32 bytes SHA-256.
func headKey(shard int) string { return tag(shard) + ":h" }

// sealPrefix returns the prefix of the keys that hold a shard's sealing keys.
func sealPrefix(shard int) string { return tag(shard) + ":k:" }

// reviewKey returns the key of a shard's queue of decisions for a person to review, by
// deadline.
func reviewKey(shard int) string { return tag(shard) + ":v" }

// documentKey returns the key of a text kept under its hash: policies, feature sets.
func documentKey(hash string) string { return "pitboss:document:" + hash }

// DecisionID returns the id of the decision that the event with this reply id leads to. It
// begins with the player's shard, so that the journal can find it.
func DecisionID(id, reply string) string {
	return fmt.Sprintf("s%04d-%s", player.Shard(id), reply)
}

// ShardOf returns the shard in a decision's id.
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
