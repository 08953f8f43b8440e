-- Finds settings of a server that do not suit a store of sessions. Answers a list of texts.
--
-- `info` is in lower case, because the probe has to list every command that is in capitals. So a
-- user who may not run `info` may still use the store.
local advice = {}
local function find(section, pattern)
  local info = redis.pcall('info', section)
  return type(info) == 'string' and string.match(info, pattern)
end
local policy = find('memory', 'maxmemory_policy:([%l-]+)')
if policy and policy ~= 'noeviction' then
  advice[#advice + 1] = 'the server may evict keys (maxmemory-policy ' .. policy
    .. '): sessions may end early, a revocation may miss sessions, and ended sessions may be live '
    .. 'again. Set maxmemory-policy to noeviction'
end
if find('persistence', 'aof_enabled:(%d)') == '0' then
  advice[#advice + 1] = 'the server keeps no log of its writes (appendonly no): after a crash, '
    .. 'sessions are lost, and ended sessions may be live again. Set appendonly to yes'
end
return advice
