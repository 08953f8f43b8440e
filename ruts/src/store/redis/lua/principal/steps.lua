
-- The steps of a sign-in. `listed` is for how long the session stays listed, 0 for ever.

-- `most` is how many may be listed, 0 any number. Answer: the mark; or, if there are too many, the handle
-- and the entry of each other one.
local function join(handle, nonce, listed, most)
  if most ~= '0' then
    local full, entries = { 'full' }, redis.call('HGETALL', key)
    for i = 1, #entries, 2 do
      if entries[i] ~= handle and live(entries[i]) then
        full[#full + 1] = entries[i]
        full[#full + 1] = entries[i + 1]
      end
    end
    if (#full - 1) / 2 >= tonumber(most) then return full end
  end
  local held = live(handle) and redis.call('HGET', key, handle)
  local state, marks = parts(held or '')
  if state == '!' then state, marks = '', {} end
  -- Those who died on the way leave theirs behind.
  while #marks >= 32 do table.remove(marks, 1) end
  local mark = nonce .. clock[1] .. '.' .. clock[2]
  marks[#marks + 1] = mark
  local lifetime = held and left(handle) or 0
  redis.call('HSET', key, handle, entry_of(now, state, marks))
  if lifetime ~= -1 and listed ~= '0' then
    local longest = math.max(lifetime, tonumber(listed))
    redis.call('HPEXPIRE', key, string.format('%.0f', longest), 'FIELDS', 1, handle)
  end
  return { 'joined', mark }
end

-- Answer: whether the sign-in still stands. From now on the entry is over once the session is.
local function verify(handle, mark, listed)
  local _, marks = parts(redis.call('HGET', key, handle) or '')
  if not strike(marks, mark) then return 0 end
  redis.call('HSET', key, handle, entry_of(now, '+', marks))
  if listed ~= '0' then redis.call('HPEXPIRE', key, listed, 'FIELDS', 1, handle) end
  return 1
end

-- The sign-in was refused.
local function withdraw(handle, mark)
  local entry = redis.call('HGET', key, handle)
  local state, marks = parts(entry or '')
  if not strike(marks, mark) then return end
  if state == '' and #marks == 0 then
    redis.call('HDEL', key, handle)
  else
    replace(handle, entry_of(joined(entry), state, marks))
  end
end
