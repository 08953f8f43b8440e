-- KEYS[1] is the session.
local key = KEYS[1]
local base = redis.call('HGET', key, '~')

