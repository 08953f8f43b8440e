-- Reads the header of a session.
--
-- needs: KEYS
-- defines: key, header
--
-- KEYS[1] is the session. `header` is the field `~`, false without a session.
local key = KEYS[1]
local header = redis.call('HGET', key, '~')
