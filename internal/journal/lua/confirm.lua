-- Writes the head of the chain as it is, so that a WAIT behind it covers all that was recorded before.
-- KEYS: 1 head of the chain
-- Returns: 1
local head = redis.call('GET', KEYS[1])
if head then redis.call('SET', KEYS[1], head) end
return 1
