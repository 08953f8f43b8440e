-- Ends all sessions of one hash tag.
--
-- needs: KEYS
--
-- KEYS[1] is the epoch of the hash tag.
redis.call('INCR', KEYS[1])
