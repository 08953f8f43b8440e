-- Finds the name of the history of the cached data.
--
-- needs: ARGV, time
-- defines: mark, server, history
--
-- ARGV[2] is a nonce, which makes the `mark` of each run unique.
local mark = ARGV[2] .. time[1] .. '.' .. time[2]

-- A server that starts, and a replica that takes over, have a new replication id. Entries with a
-- different id may have missed invalidations.
local info = redis.call('INFO', 'replication')
local _, id = string.find(info, 'master_replid:', 1, true)
if not id then error({ err = 'UNFIT the server does not report its replication id' }) end
local server = string.sub(info, id + 1, id + 16)

-- Answers the history of a key: the replication id, and a name that `clear` deletes to invalidate
-- all entries of the hash tag.
local function history(key)
  local name = string.match(key, '^[^}]*}') .. ':hot'
  local since = redis.call('GET', name)
  if not since then
    -- The name is new each time. If the server has evicted the former name, entries with the former
    -- name must stay invalid.
    since = mark
    redis.pcall('SET', name, since)
  end
  return server .. '.' .. since
end
