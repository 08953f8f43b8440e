-- Names the history of the cached data.
--
-- needs: ARGV, time
-- defines: mark, server, history
--
-- ARGV[2] is a nonce, with which each run has a `mark` of its own.
local mark = ARGV[2] .. time[1] .. '.' .. time[2]

-- A server that starts, and a replica that takes over, have a new replication id. Entries of
-- another one may be older than later writes.
local info = redis.call('INFO', 'replication')
local _, id = string.find(info, 'master_replid:', 1, true)
if not id then error({ err = 'UNFIT the server does not report its replication id' }) end
local server = string.sub(info, id + 1, id + 16)

-- Entries of one hash tag are also invalid after they were all cleared.
local function history(key)
  local name = string.match(key, '^[^}]*}') .. ':hot'
  local since = redis.call('GET', name)
  if not since then
    -- Never an earlier one: if this was evicted, old entries must not come back.
    since = mark
    redis.pcall('SET', name, since)
  end
  return server .. '.' .. since
end
