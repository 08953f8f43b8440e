
local find = (mode == '@' or mode == '&') and owned or mode == '?' and any or open
local session, refusal = find(base)
if not session then return refusal end
if idle > 0 then
  local confirmed = confirm(session)
  if touch(session) or confirmed then base = save(session) end
end
if mode == '*' or mode == '&' then
  held = redis.call('HGETALL', key)
  table.insert(held, 1, '')
end
held[1] = struct.pack('>I6c32', now, base) .. (session.apart or '') .. (session.former and '!' or '')
return held
