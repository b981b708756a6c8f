-- Takes due reminders of a shard. They come due again when the lease ends.
-- KEYS[1] reminders of the shard
-- ARGV[1] now, ms   ARGV[2] end of the lease, ms   ARGV[3] most to take
-- Returns the members taken, earliest first.
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, member in ipairs(due) do redis.call('ZADD', KEYS[1], ARGV[2], member) end
return due
