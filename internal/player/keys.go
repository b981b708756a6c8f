package player

import "github.com/cespare/xxhash/v2"

// Shards is the number of shards, fixed for good: it decides where every
// player's keys are.
const Shards = 4096

// Shard is the player's shard, 0 to 4095.
func Shard(player string) int { return int(xxhash.Sum64String(player) % Shards) }

// keySize is the length of {s0000}:r.
const keySize = 9

// keys holds every shard's {s0000}:r, one after the other: a hash tag and a
// reminder key are slices of it. One allocation, since every start pays for it.
var keys = func() string {
	b := make([]byte, 0, Shards*keySize)
	for i := range Shards {
		b = append(b, '{', 's', '0'+byte(i/1000), '0'+byte(i/100%10), '0'+byte(i/10%10), '0'+byte(i%10), '}', ':', 'r')
	}
	return string(b)
}()

// ShardTag is the hash tag that puts all keys of a shard in one cluster slot.
func ShardTag(shard int) string { return keys[shard*keySize:][:keySize-2] }

// StateKey is the key of a player's version, duplicate memory and state.
func StateKey(player string) string { return ShardTag(Shard(player)) + ":p:" + player }

// ReminderKey is the key of a shard's sorted set of reminders.
func ReminderKey(shard int) string { return keys[shard*keySize:][:keySize] }
