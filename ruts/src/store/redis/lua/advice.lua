-- Finds settings of a server that do not suit a store of sessions. Answers a list of texts.
--
-- `info` is in lower case, because the probe has to list every command that is in capitals. So a
-- user who may not run `info` may still use the store.
local info = redis.pcall('info', 'memory')
local policy = type(info) == 'string' and string.match(info, 'maxmemory_policy:([%l-]+)')
if policy and policy ~= 'noeviction' then
  return {
    'the server may evict keys (maxmemory-policy ' .. policy .. '): sessions may end early, and a '
      .. 'revocation may miss sessions. Set maxmemory-policy to noeviction',
  }
end
return {}
