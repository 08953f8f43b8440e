-- Invalidates all cache entries of one hash tag.
--
-- needs: KEYS
--
-- KEYS[1] is the part of their history that `history` makes anew if it is absent.
redis.call('DEL', KEYS[1])
