-- Evicts a cache entry, but keeps its write intents, so that they still prevent fills. Each intent
-- gets `+`, so that no write in progress stores its values.
--
-- needs: key, other_intents
local held = redis.pcall('HMGET', key, '~r', '~f')
local others, life = '', 0
-- If the key holds other data, there are no intents.
if not held.err then others, life = other_intents(held[2]) end
redis.call('DEL', key)
if others ~= '' then
  redis.call('HSET', key, '~r', held[1], '~f', others)
  redis.call('PEXPIRE', key, string.format('%.0f', life))
end
