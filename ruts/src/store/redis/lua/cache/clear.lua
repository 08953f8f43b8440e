-- Invalidates all cache entries of one hash tag.
--
-- needs: KEYS
--
-- KEYS[1] holds a part of the name of their history. `history` writes a new one if it is absent.
redis.call('DEL', KEYS[1])
