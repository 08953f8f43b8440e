-- Finishes a write: removes its intent, and stores its values unless the intent overlapped.
--
-- needs: ARGV, key, other_intents
--
-- ARGV: the life of the entry, the mark of the intent, then the name and the value of each field to
-- store.
local others, life, beside = other_intents(redis.call('HGET', key, '~f'), ARGV[2])
life = math.max(life, tonumber(ARGV[1]))
if beside == '' then
  for from = 3, #ARGV, 1000 do
    redis.call('HSET', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
end
if not beside then
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
