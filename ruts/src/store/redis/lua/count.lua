-- KEYS[1] is the epoch of all sessions of one hash tag.
redis.call('INCR', KEYS[1])
