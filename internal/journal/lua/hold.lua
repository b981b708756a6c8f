-- Keeps a legal hold, unless one is kept that ends no sooner.
-- KEYS: 1 the player's hold
-- ARGV: 1 record, 2 until when, unix s ('': for ever), 3 how long that is from now on, ms
-- Returns: 1
local left = redis.call('PTTL', KEYS[1])
if left == -1 then return 1 end
if ARGV[2] == '' then
  redis.call('SET', KEYS[1], ARGV[1])
elseif left < tonumber(ARGV[3]) then
  redis.call('SET', KEYS[1], ARGV[1], 'EXAT', ARGV[2])
end
return 1
