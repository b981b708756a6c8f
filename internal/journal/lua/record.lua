-- Records decisions about one player: all of them, or none if the state, the contact history or the head has changed.
-- KEYS: 1 player's state, 2 contact history, 3 head of the chain, 4 stream,
--       5 prefix of sealing keys, 6 review queue
-- ARGV: 1 state's version ('': no such player; '*': not checked; '+': any but an erased player's, which begins with
--         4 zero bytes), 2 contacts' version ('': none; '*': not checked), 3 head ('': none),
--       4 contacts to write ('': unchanged), 5 head to write, 6 new sealing key ('': there is one already), 7 its name;
--       then five for each entry: stream id, entry, its hash, review deadline ('': none), decision
-- Returns: {1} if recorded; {2} for an erased player ('+'); else {0, changed: 1 state + 2 contacts + 4 head, state, contacts, head, sealing key}
local changed = 0
local state = redis.call('GETRANGE', KEYS[1], 0, 7)
if ARGV[1] == '+' then
  if string.sub(state, 1, 4) == '\0\0\0\0' then return {2} end
elseif ARGV[1] ~= '*' and state ~= ARGV[1] then
  changed = changed + 1
end
local contacts = redis.call('GETRANGE', KEYS[2], 0, 23)
if ARGV[2] ~= '*' and string.sub(contacts, 1, 8) ~= ARGV[2] then changed = changed + 2 end
local head = redis.call('GET', KEYS[3]) or ''
if head ~= ARGV[3] then changed = changed + 4 end
if changed > 0 then
  local s, c, k = '', '', ''
  if changed % 2 == 1 then s = redis.call('GET', KEYS[1]) or '' end
  if changed % 4 > 1 then
    c = redis.call('GET', KEYS[2]) or ''
    if c ~= '' then k = redis.call('GET', KEYS[5] .. string.sub(contacts, 9, 24)) or '' end
  end
  return {0, changed, s, c, head, k}
end
if ARGV[4] ~= '' then redis.call('SET', KEYS[2], ARGV[4]) end
if ARGV[6] ~= '' then redis.call('SET', KEYS[5] .. ARGV[7], ARGV[6]) end
for n = 8, #ARGV, 5 do
  redis.call('XADD', KEYS[4], ARGV[n], 'e', ARGV[n + 1], 'h', ARGV[n + 2])
  if ARGV[n + 3] ~= '' then redis.call('ZADD', KEYS[6], ARGV[n + 3], ARGV[n + 4]) end
end
redis.call('SET', KEYS[3], ARGV[5])
return {1}
