-- Replaces a player's documents in a vault, unless they changed since they were read.
-- KEYS: 1 the player's documents, sealed, after a nonce that is new with every write
-- ARGV: 1 the nonce that was read ('': there were none), 2 the new documents, 3 when they expire, unix s
-- Returns: 1; 0 if they have another nonce
if redis.call('GETRANGE', KEYS[1], 0, 11) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EXAT', ARGV[3])
return 1
