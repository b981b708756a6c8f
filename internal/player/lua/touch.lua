-- Writes a player's version over itself, so that a WAIT that follows covers
-- whatever was committed before, by whomever.
-- KEYS[1] the player's value
-- Returns the version, '' when there is no such player.
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if version ~= '' then redis.call('SETRANGE', KEYS[1], 0, version) end
return version
