-- Adds an account to the index of a person's accounts. It always writes, so that a
-- following WAIT covers it.
-- KEYS: 1 index of the person
-- ARGV: 1 player
-- Returns: 1
redis.call('SREM', KEYS[1], ARGV[1])
return redis.call('SADD', KEYS[1], ARGV[1])
