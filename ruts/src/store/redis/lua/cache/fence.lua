
-- ARGV: life of the entry, nonce, life of the fence, idle, after, '*' or '=', names of what becomes
-- unknown; `~` is the session's record. Answer: the fence and the moment.
local held = redis.call('HMGET', key, '~r', '~', '~f')
local here = history(ARGV[2])
local standing = {}
if held[1] == here then
  standing = fences(held[3])
elseif held[1] then
  redis.call('DEL', key)
end

if ARGV[6] == '*' then
  redis.call('DEL', key)
else
  local session = record(held[2])
  if not session or due(session, ARGV[4], ARGV[5]) then redis.call('HDEL', key, '~') end
  redis.call('HDEL', key, '~o', '~c')
  for from = 7, #ARGV, 1000 do
    redis.call('HDEL', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
end

for _, fence in ipairs(standing) do fence.beside = '+' end
local mark = unique(ARGV[2])
local till = text(now + ARGV[3])
standing[#standing + 1] = { mark = mark, till = till, beside = #standing > 0 and '+' or '' }
redis.call('HSET', key, '~r', here)
save_fences(standing)
keep(ARGV[1])
return { mark, now }
