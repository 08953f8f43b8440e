-- Finishes a write: removes its intent, and stores its values unless the intent overlapped.
--
-- needs: ARGV, key, now
--
-- ARGV: the life of the entry, the mark of the intent, then the name and the value of each field to
-- store.
local life, others, is_standing, is_only = tonumber(ARGV[1]), '', false, false
local intents = redis.call('HGET', key, '~f') or ''
for mark, lapses, beside in string.gmatch(intents, '(%S+) (%d+) (%+?);') do
  if tonumber(lapses) > now then
    if mark == ARGV[2] then
      is_standing, is_only = true, beside == ''
    else
      others = others .. mark .. ' ' .. lapses .. ' +;'
      life = math.max(life, lapses - now)
    end
  end
end

if is_only then
  for from = 3, #ARGV, 1000 do
    redis.call('HSET', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
end
if not is_standing then
  -- The intent has expired or was evicted. Since then, readers may have filled in values that this
  -- write replaced. Another write in progress may have reached the origin before this one, so `+`
  -- keeps that write from storing its values.
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
