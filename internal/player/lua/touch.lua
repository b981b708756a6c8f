-- Writes a player's version back unchanged, so that a following WAIT covers everything
-- that any client committed before.
-- KEYS[1] the player's value
-- Returns the version, '' if there is no such player.
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if version ~= '' then redis.call('SETRANGE', KEYS[1], 0, version) end
return version
