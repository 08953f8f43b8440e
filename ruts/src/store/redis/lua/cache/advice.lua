-- What a cache pays for and does not need, or needs and does not have.
local advice = {}
local info = redis.call('INFO')
local function says(pattern)
  return string.find(info, pattern) ~= nil
end
if says('aof_enabled:1') then
  advice[#advice + 1] = 'its server keeps a log of all writes on disk, which a cache does not need'
end
if not says('connected_slaves:0') then
  advice[#advice + 1] = 'its server has replicas, which cannot take over what a cache holds'
end
if not says('maxmemory:0\r') and says('maxmemory_policy:noeviction') then
  advice[#advice + 1] = 'its server evicts nothing: when it is full, nothing more is cached'
end
return advice
