-- Adds a decision's outcome to its action's sums. The outcome of the highest rank counts, once, in whatever order outcomes come.
-- KEYS: 1 ranks of the player's decisions, 2 the shard's sums, 3 the player's state (an erased player's begins with 4 zero bytes)
-- ARGV: 1 decision and key of the sums, 2 rank of the outcome, 3 seconds to remember it, 4 action, 5 limit of remembered decisions,
--       6 width w, then w(w+1)/2 products, then for each rank from 1 on w products and a square
-- Returns: 3 if the decision was counted for the first time; 1 if the sums changed otherwise; 0 if an outcome of that rank or a higher one was counted before, or the player was erased; 2 if too many decisions are remembered
if redis.call('GETRANGE', KEYS[3], 0, 3) == '\0\0\0\0' then return 0 end
local rank, w = tonumber(ARGV[2]), tonumber(ARGV[6])
local old = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if rank <= old then return 0 end
local xx = w * (w + 1) / 2
local function add(field, by)
  if by ~= 0 then redis.call('HINCRBY', KEYS[2], ARGV[4] .. ' ' .. field, string.format('%.0f', by)) end
end
if old == 0 then
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return 2 end
  add('n', 1)
  for k = 1, xx do add('xx' .. (k - 1), tonumber(ARGV[6 + k])) end
end
local function of(r, i) -- i = w + 1: the square
  if r == 0 then return 0 end
  return tonumber(ARGV[6 + xx + (r - 1) * (w + 1) + i])
end
for i = 1, w do add('xy' .. (i - 1), of(rank, i) - of(old, i)) end
add('yy', of(rank, w + 1) - of(old, w + 1))
redis.call('HSET', KEYS[1], ARGV[1], rank)
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], 34560000)
if old == 0 then return 3 end
return 1
