-- Finds settings of a server that do not suit a cache. Answers a list of texts.
local advice = {}
local info = redis.call('INFO')
local function has(pattern)
  return string.find(info, pattern) ~= nil
end
if has('aof_enabled:1') then
  advice[#advice + 1] = 'the server keeps a log of all writes on disk, which a cache does not need'
end
if not has('connected_slaves:0') then
  advice[#advice + 1] = 'the server has replicas, which cannot take over the entries of a cache'
end
if not has('maxmemory:0\r') and has('maxmemory_policy:noeviction') then
  advice[#advice + 1] = 'the server evicts nothing: when it is full, the cache takes no new entries'
end
return advice
