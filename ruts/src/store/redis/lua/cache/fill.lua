-- KEYS[1] is the entry, as `clock` describes it. ARGV: life of the entry, ticket, `*` if what follows is all
-- there is, then names and what is held of them.
local key = KEYS[1]
if redis.call('HGET', key, '~o') ~= ARGV[2] then return end
if ARGV[3] == '*' then
  -- What else is held is over, or is among what follows.
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if string.byte(name) ~= 126 then redis.call('HDEL', key, name) end
  end
end
for from = 4, #ARGV, 1000 do
  redis.call('HSET', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
if redis.call('PTTL', key) < tonumber(ARGV[1]) then redis.call('PEXPIRE', key, ARGV[1]) end
