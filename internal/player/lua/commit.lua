-- Replaces a player's value, unless it changed since it was read. The value contains the
-- duplicate memory, so one comparison shows both that the state is the one that was folded
-- and that the new events are still no duplicates.
-- KEYS[1] the player's value               KEYS[2] reminders of the shard
-- ARGV[1] version that was read, '' = no player   ARGV[2] next value
-- ARGV[3...] reminders, in pairs: member, due in ms ('' = cancel)
-- Returns 1 if done, else the current value ('' = none) without having changed anything.
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then
  return redis.call('GET', KEYS[1]) or ''
end
redis.call('SET', KEYS[1], ARGV[2])
for n = 3, #ARGV, 2 do
  if ARGV[n + 1] == '' then
    redis.call('ZREM', KEYS[2], ARGV[n])
  else
    redis.call('ZADD', KEYS[2], ARGV[n + 1], ARGV[n])
  end
end
return 1
