-- KEYS[1] is the entry, as `clock` describes it. ARGV: life of the entry, ticket, its moment and `*` if what
-- follows is all there is, packed, then names and what is held of them, the record before others.
local key = KEYS[1]
local held = redis.call('HMGET', key, '~o', '~')
if held[1] ~= ARGV[2] then return end
local first, session, new = 4, held[2], ARGV[5]
if session and #session >= 70 and string.sub(session, 7, 38) == string.sub(new, 7, 38) then
  local later = struct.unpack('>I6', string.sub(session, 56)) > struct.unpack('>I6', string.sub(new, 56))
  -- The session was used since.
  if later and struct.unpack('>I6', session) > struct.unpack('>I6', ARGV[3]) then first = 6 end
end
if #ARGV[3] > 6 then
  -- What else is held is over, or is among what follows.
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if string.byte(name) ~= 126 then redis.call('HDEL', key, name) end
  end
end
for from = first, #ARGV, 1000 do
  redis.call('HSET', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
if redis.call('PTTL', key) < tonumber(ARGV[1]) then redis.call('PEXPIRE', key, ARGV[1]) end
