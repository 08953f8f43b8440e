
-- ARGV: the idle time that is to be granted, 0 for none, how much of it must have passed, and `*` if the whole
-- entry becomes unknown, packed; the nonce; life of the fence; life of the entry; names of what becomes
-- unknown. Answer: the fence and the moment.
local idle, after = struct.unpack('>I6I6', ARGV[1])
local here = history(key)
local held = redis.call('HMGET', key, '~r', '~', '~f')
local life, others = tonumber(ARGV[4]), ''
if held[1] == here then
  for other, till in string.gmatch(held[3] or '', '(%S+) (%d+) %+?;') do
    if tonumber(till) > now then
      others = others .. other .. ' ' .. till .. ' +;'
      life = math.max(life, till - now)
    end
  end
end

if #ARGV[1] > 12 or held[1] and held[1] ~= here then
  redis.call('DEL', key)
elseif held[1] then
  local session = held[2]
  if session and idle > 0 then
    local ends = #session >= 70 and struct.unpack('>I6', string.sub(session, 56)) or now
    if ends > 0 and (after == 0 or idle - (ends - now) >= after) then redis.call('HDEL', key, '~') end
  end
  redis.call('HDEL', key, '~o', '~c', unpack(ARGV, 5, math.min(#ARGV, 1004)))
  for from = 1005, #ARGV, 1000 do
    redis.call('HDEL', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
end

local fence = string.format('%s %.0f %s;', mark, now + ARGV[3], others == '' and '' or '+')
redis.call('HSET', key, '~r', here, '~f', others .. fence)
if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, string.format('%.0f', life)) end
return { mark, now }
