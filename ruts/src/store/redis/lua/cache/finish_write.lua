
-- ARGV: life of the entry, the fence, then names and what is held of them.
local life, others, mine, alone = tonumber(ARGV[1]), '', false, false
for mark, till, beside in string.gmatch(redis.call('HGET', key, '~f') or '', '(%S+) (%d+) (%+?);') do
  if tonumber(till) > now then
    if mark == ARGV[2] then
      mine, alone = true, beside == ''
    else
      others = others .. mark .. ' ' .. till .. ' +;'
      life = math.max(life, till - now)
    end
  end
end

if alone then
  for from = 3, #ARGV, 1000 do
    redis.call('HSET', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
end
if not mine then
  -- It fell, or was forgotten: readers may have filled in what this write replaced, and a write that is
  -- under way may have come before this one.
  local written_in = redis.call('HGET', key, '~r')
  redis.call('DEL', key)
  if others == '' then return end
  redis.call('HSET', key, '~r', written_in, '~f', others)
elseif others == '' then
  redis.call('HDEL', key, '~f')
else
  redis.call('HSET', key, '~f', others)
end
if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, string.format('%.0f', life)) end
