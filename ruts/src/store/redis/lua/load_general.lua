-- Answers a read that is not on the fast path.
--
-- needs: key, values, header, presented, idle, after, mode, authenticate, find_live, find_owned,
--   start_grace, extend_idle, save
--
-- ARGV and the answer are the same as for `load`. If the credentials are not accepted, answers a
-- refusal.
local session, refusal
if mode == '@' or mode == '&' then
  session = find_owned(key, header, presented)
elseif mode == '?' then
  session = find_live(key, header)
else
  session, refusal = authenticate(key, header, presented)
end
if not session then return refusal or 'none' end

if idle > 0 then
  local started = start_grace(session)
  if extend_idle(session, idle, after) or started then
    -- If the server temporarily refuses writes, the read is still answered, without a touch.
    local is_saved, saved = pcall(save, session)
    if is_saved then header = saved end
  end
end
if mode == '*' or mode == '&' then
  values = redis.call('HGETALL', key)
  table.insert(values, 1, '')
end
values[1] = struct.pack('>I6c32', session.now, header) .. (session.extension or '')
  .. (session.is_former and '!' or '')
return values
