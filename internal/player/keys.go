package player

import "github.com/cespare/xxhash/v2"

// Shards is the number of shards. It must never change, because it determines where every
// player's keys are.
const Shards = 4096

// Shard returns the player's shard, 0 to 4095.
func Shard(player string) int { return int(xxhash.Sum64String(player) % Shards) }

// keySize is the length of {s0000}:r.
const keySize = 9

// keys is the concatenation of every shard's {s0000}:r. Hash tags and reminder keys are
// slices of it, so that a start makes only one allocation for all of them.
var keys = func() string {
	b := make([]byte, 0, Shards*keySize)
	for i := range Shards {
		b = append(b, '{', 's', '0'+byte(i/1000), '0'+byte(i/100%10), '0'+byte(i/10%10), '0'+byte(i%10), '}', ':', 'r')
	}
	return string(b)
}()

// ShardTag returns the hash tag that puts all keys of a shard in one cluster slot.
func ShardTag(shard int) string { return keys[shard*keySize:][:keySize-2] }

// StateKey returns the key of a player's version, duplicate memory and state.
func StateKey(player string) string { return ShardTag(Shard(player)) + ":p:" + player }

// ReminderKey returns the key of a shard's sorted set of reminders.
func ReminderKey(shard int) string { return keys[shard*keySize:][:keySize] }
