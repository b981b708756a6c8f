-- Writes the head of the chain back unchanged, so that a following WAIT covers everything recorded before.
-- KEYS: 1 head of the chain
-- Returns: 1
local head = redis.call('GET', KEYS[1])
if head then redis.call('SET', KEYS[1], head) end
return 1
