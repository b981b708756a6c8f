-- Replaces a player's state if nobody else did and none of the events is known.
-- KEYS[1] state of the player           KEYS[2] reminders of the shard
-- ARGV[1] version folded on, '' = new   ARGV[2] next version
-- ARGV[3] ids to remember, 12 bytes each (8 key, 3 minute of arrival, 1 flags)
-- ARGV[4] most ids to remember          ARGV[5] oldest minute to remember
-- ARGV[6] next state
-- ARGV[7...] reminders, pairs: member, due in ms ('' = cancel)
-- Returns 1 when done, else the player's current value ('' = none); nothing was changed then.
local value = redis.call('GET', KEYS[1]) or ''
if string.sub(value, 1, 8) ~= ARGV[1] then return value end
local ids, count = '', 0
if value ~= '' then
  local layout, high, low = string.byte(value, 9, 11)
  if layout ~= 1 then return redis.error_reply('LAYOUT ' .. layout .. ' of a newer release') end
  count = high * 256 + low
  ids = string.sub(value, 12, 11 + 12 * count)
end
local add = #ARGV[3] / 12
for n = 0, add - 1 do
  local key = string.sub(ARGV[3], 12 * n + 1, 12 * n + 8)
  local at = string.find(ids, key, 1, true)
  while at and (at - 1) % 12 ~= 0 do at = string.find(ids, key, at + 1, true) end
  if at then return value end
end
local drop = math.min(count, math.max(0, count + add - tonumber(ARGV[4])))
local oldest = tonumber(ARGV[5])
while drop < count do
  local a, b, c = string.byte(ids, 12 * drop + 9, 12 * drop + 11)
  if a * 65536 + b * 256 + c >= oldest then break end
  drop = drop + 1
end
count = count - drop + add
redis.call('SET', KEYS[1], ARGV[2] .. string.char(1, math.floor(count / 256), count % 256)
  .. string.sub(ids, 12 * drop + 1) .. ARGV[3] .. ARGV[6])
for n = 7, #ARGV, 2 do
  if ARGV[n + 1] == '' then redis.call('ZREM', KEYS[2], ARGV[n])
  else redis.call('ZADD', KEYS[2], ARGV[n + 1], ARGV[n]) end
end
return 1
