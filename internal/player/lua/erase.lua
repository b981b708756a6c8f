-- Removes a player's state and reminders, unless the state changed since it was read. A
-- mark stays for a while, so that earlier events do not bring the player back.
-- KEYS[1] state of the player   KEYS[2] reminders of the shard
-- ARGV[1] player   ARGV[2] mark, a value without state   ARGV[3] how long it stays, ms
-- ARGV[4] version that was read, '' = no such player, or the mark of an earlier erasure
-- Returns 1 if done, 0 if the state has another version.
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if string.sub(version, 1, 4) == '\0\0\0\0' then version = '' end
if version ~= ARGV[4] then return 0 end
local mine = {}
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local size, chunk = redis.call('ZCARD', KEYS[2]), 1000
for from = 0, size - 1, chunk do
  for _, member in ipairs(redis.call('ZRANGE', KEYS[2], from, from + chunk - 1)) do
    local player = string.match(member, '^%d+:[^:]*:(.*)$')
    if player == ARGV[1] then mine[#mine + 1] = member end
  end
end
for _, member in ipairs(mine) do redis.call('ZREM', KEYS[2], member) end
return 1
