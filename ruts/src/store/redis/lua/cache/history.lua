
-- ARGV[2] is a nonce: no two runs of a script share it and a moment.
local mark = ARGV[2] .. clock[1] .. '.' .. clock[2]

-- The history begins anew with every start of the server and every failover: what an entry held before may be
-- older than what was written since. And whenever all entries of its hash tag are forgotten.
local info = redis.call('INFO', 'replication')
local _, id = string.find(info, 'master_replid:', 1, true)
if not id then error({ err = 'UNFIT the server does not tell its replication id' }) end
local server = string.sub(info, id + 1, id + 16)

local function history(key)
  local name = string.match(key, '^[^}]*}') .. ':hot'
  local since = redis.call('GET', name)
  if not since then
    -- Never one that there was before, so that entries do not come back when this was evicted.
    since = mark
    redis.pcall('SET', name, since)
  end
  return server .. '.' .. since
end
