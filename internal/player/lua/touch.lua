-- Writes a player's version over itself, so that a WAIT that follows covers
-- whatever was committed before, by whomever.
-- KEYS[1] state of the player
-- Returns 1, or 0 when there is no such player.
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if version == '' then return 0 end
redis.call('SETRANGE', KEYS[1], 0, version)
return 1
