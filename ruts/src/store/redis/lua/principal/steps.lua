-- The steps of a sign-in.
--
-- needs: key, time, now, joined_at, parse_entry, format_entry, remove_mark, ttl_of, replace_entry,
--   is_listed
-- defines: join, verify, withdraw
--
-- `listed` is the time for which the session stays listed, 0 for ever.

-- Adds a session to the list. `limit` is the maximum number of sessions, 0 for none. Answers
-- `joined` and a mark; or `full`, and the id and the entry of each other session.
local function join(id, nonce, listed, limit)
  if limit ~= '0' then
    local full, entries = { 'full' }, redis.call('HGETALL', key)
    for i = 1, #entries, 2 do
      if entries[i] ~= id and is_listed(entries[i]) then
        full[#full + 1] = entries[i]
        full[#full + 1] = entries[i + 1]
      end
    end
    if (#full - 1) / 2 >= tonumber(limit) then return full end
  end
  local held = is_listed(id) and redis.call('HGET', key, id)
  local state, marks = parse_entry(held or '')
  if state == '!' then state, marks = '', {} end
  -- Sign-ins that broke off leave their marks behind.
  while #marks >= 32 do table.remove(marks, 1) end
  local mark = nonce .. time[1] .. '.' .. time[2]
  marks[#marks + 1] = mark
  local ttl = held and ttl_of(id) or 0
  redis.call('HSET', key, id, format_entry(now, state, marks))
  if ttl ~= -1 and listed ~= '0' then
    local longest = math.max(ttl, tonumber(listed))
    redis.call('HPEXPIRE', key, string.format('%.0f', longest), 'FIELDS', 1, id)
  end
  return { 'joined', mark }
end

-- Completes a sign-in, unless a revocation came in between. Answers 1 or 0. From now on the entry
-- is stale once the session has ended.
local function verify(id, mark, listed)
  local _, marks = parse_entry(redis.call('HGET', key, id) or '')
  if not remove_mark(marks, mark) then return 0 end
  redis.call('HSET', key, id, format_entry(now, '+', marks))
  if listed ~= '0' then redis.call('HPEXPIRE', key, listed, 'FIELDS', 1, id) end
  return 1
end

-- Takes back a sign-in that was refused.
local function withdraw(id, mark)
  local entry = redis.call('HGET', key, id)
  local state, marks = parse_entry(entry or '')
  if not remove_mark(marks, mark) then return end
  if state == '' and #marks == 0 then
    redis.call('HDEL', key, id)
  else
    replace_entry(id, format_entry(joined_at(entry), state, marks))
  end
end
