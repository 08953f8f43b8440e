-- Reads the header of a session.
--
-- needs: KEYS
-- defines: key, header
--
-- KEYS[1] is the session. `header` is the field `~`, or false if there is no session.
local key = KEYS[1]
local header = redis.call('HGET', key, '~')
