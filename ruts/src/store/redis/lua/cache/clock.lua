-- KEYS[1] is the entry of a session. Its fields: `~r` the history of the server's data in which it was
-- written, and since when entries of its hash tag are known; `~` the session's own record; `~o` the ticket
-- that is out; `~f` the fences, each a mark, until when it stands, `+` if there was another one, and `;`; `~c`
-- until when it counts as complete. Any other is a field of the session. What a reader is served begins with
-- the moment until which it may be, in six bytes. All moments are milliseconds of the server's clock.
local key = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
