-- Takes a field out of a hash, if it is still what it was, and puts it into another hash or the same one.
-- KEYS: 1 the hash that it is in, 2 the one that it goes to
-- ARGV: 1 field, 2 what it is ('': whatever it is), 3 what it becomes ('': it goes nowhere)
-- Returns: 1; 0 where it is not there, or something else
local now = redis.call('HGET', KEYS[1], ARGV[1])
if not now or (ARGV[2] ~= '' and now ~= ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) end
return 1
