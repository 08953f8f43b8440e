-- Reads the clock of a cache.
--
-- needs: KEYS
-- defines: key, time, now
--
-- KEYS[1] is the cache entry of a session. Its fields:
--   ~r  the history in which the entry was written, see `history`
--   ~   the session record
--   ~o  the mark of the lease
--   ~f  the write intents: each a mark, the moment at which it expires, `+` if it overlapped with
--       another intent, and `;`. The mark `*` is that of merged intents, see `begin_write`
--   ~c  the moment until which the entry counts as complete
-- Every other field belongs to the session. The record and each field of the session begin with
-- the moment until which they may be served, in 6 bytes. All moments are milliseconds of the
-- server's clock.
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
