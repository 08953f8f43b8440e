-- Evicts a cache entry.
--
-- needs: KEYS
redis.call('DEL', KEYS[1])
