-- Keeps a legal hold, unless there is one that ends at the same time or later.
-- KEYS: 1 the player's hold
-- ARGV: 1 record, 2 its end, unix s ('': none), 3 the time until then, ms
-- Returns: 1
local left = redis.call('PTTL', KEYS[1])
if left == -1 then return 1 end
if ARGV[2] == '' then
  redis.call('SET', KEYS[1], ARGV[1])
elseif left < tonumber(ARGV[3]) then
  redis.call('SET', KEYS[1], ARGV[1], 'EXAT', ARGV[2])
end
return 1
