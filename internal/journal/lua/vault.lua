-- Replaces what a vault has of a player, unless it changed since it was read.
-- KEYS: 1 the player's documents, sealed, behind a nonce that no other writing has
-- ARGV: 1 nonce they had ('': there were none), 2 documents from now on, 3 until when they are kept, unix s
-- Returns: 1; 0 where they have another nonce
if redis.call('GETRANGE', KEYS[1], 0, 11) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EXAT', ARGV[3])
return 1
