package player

import "github.com/cespare/xxhash/v2"

// Shards is the number of shards, fixed for good: it decides where every
// player's keys are.
const Shards = 4096

// Shard is the player's shard, 0 to 4095.
func Shard(player string) int { return int(xxhash.Sum64String(player) % Shards) }

// tags holds every shard's hash tag, {s0000} to {s4095}.
var tags = func() (t [Shards]string) {
	for i := range t {
		t[i] = "{s" + string([]byte{'0' + byte(i/1000), '0' + byte(i/100%10), '0' + byte(i/10%10), '0' + byte(i%10)}) + "}"
	}
	return t
}()

// ShardTag is the hash tag that puts all keys of a shard in one cluster slot.
func ShardTag(shard int) string { return tags[shard] }

// StateKey is the key of a player's version, duplicate memory and state.
func StateKey(player string) string { return tags[Shard(player)] + ":p:" + player }

// ReminderKey is the key of a shard's sorted set of reminders.
func ReminderKey(shard int) string { return reminderKeys[shard] }

var reminderKeys = func() (k [Shards]string) {
	for i := range k {
		k[i] = tags[i] + ":r"
	}
	return k
}()
