-- KEYS[1] is the session. The fields that are asked for, `~` before them: a server passes a few thousand
-- arguments at most.
local key = KEYS[1]
local held = redis.call('HMGET', key, '~', '~x', unpack(ARGV, 2, math.min(#ARGV, 1001)))
local more = table.remove(held, 2)
for from = 1002, #ARGV, 1000 do
  local others = redis.call('HMGET', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  for _, value in ipairs(others) do held[#held + 1] = value end
end
local base = held[1]

