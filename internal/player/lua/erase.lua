-- Removes a player's state and reminders. A mark stays for a while, so that
-- events from before do not bring the player back.
-- KEYS[1] state of the player   KEYS[2] reminders of the shard
-- ARGV[1] player   ARGV[2] mark, a value without state   ARGV[3] how long it stays, ms
-- Returns how many reminders were removed.
local removed, mine = 0, {}
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local size, chunk = redis.call('ZCARD', KEYS[2]), 1000
for from = 0, size - 1, chunk do
  for _, member in ipairs(redis.call('ZRANGE', KEYS[2], from, from + chunk - 1)) do
    local player = string.match(member, '^%d+:[^:]*:(.*)$')
    if player == ARGV[1] then mine[#mine + 1] = member end
  end
end
for _, member in ipairs(mine) do removed = removed + redis.call('ZREM', KEYS[2], member) end
return removed
