-- Moves a field from one hash to another, or the same one, if its value is the expected one.
-- KEYS: 1 the hash that has it, 2 the hash that gets it
-- ARGV: 1 field, 2 expected value ('': any), 3 new value ('': it is only removed)
-- Returns: 1; 0 if there is no such field or it has another value
local now = redis.call('HGET', KEYS[1], ARGV[1])
if not now or (ARGV[2] ~= '' and now ~= ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) end
return 1
