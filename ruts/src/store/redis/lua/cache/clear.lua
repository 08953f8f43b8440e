-- Invalidates all cache entries of one hash tag.
--
-- needs: KEYS
--
-- KEYS[1] holds a part of the name of the history of these entries. If KEYS[1] is absent, `history`
-- makes a new name.
redis.call('DEL', KEYS[1])
