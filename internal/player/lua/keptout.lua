-- Adds to the day's counts of events that did not count, by reason and producer.
-- KEYS[1] the day's hash
-- ARGV[1] seconds it is kept   ARGV[2] how many fields it may have
-- ARGV[3...] in pairs: field ("reason producer"), count; fields beyond the limit are counted together
-- Returns 0.
for i = 3, #ARGV, 2 do
  local field = ARGV[i]
  if redis.call('HEXISTS', KEYS[1], field) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[2]) then
    field = string.match(field, '^%S+') .. ' (others)'
  end
  redis.call('HINCRBY', KEYS[1], field, ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 0
