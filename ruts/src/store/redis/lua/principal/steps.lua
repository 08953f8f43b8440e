-- The steps of a sign-in.
--
-- needs: key, time, now, joined_at, parse_entry, format_entry, replace_entry, find_entry
-- defines: join, verify, withdraw
--
-- `listed` is the time for which the session stays listed, or 0 if the session has no absolute
-- deadline.

-- Keeps the list for at least `listed`. `left` is its former lifetime, as PTTL answers it.
local function prolong(listed, left)
  if listed == '0' then
    redis.call('PERSIST', key)
  elseif left ~= -1 and left < tonumber(listed) then
    redis.call('PEXPIRE', key, listed)
  end
end

local function remove_mark(marks, mark)
  for i, other in ipairs(marks) do
    if other == mark then
      table.remove(marks, i)
      return true
    end
  end
  return false
end

-- Adds a session to the list. `limit` is the maximum number of sessions, 0 for none. Answers
-- `joined`, a mark, and the number of sessions; or `full`.
local function join(id, nonce, listed, limit)
  local held, count = find_entry(id), redis.call('ZCARD', key)
  if held then count = count - 1 end
  if limit ~= '0' and count >= tonumber(limit) then return { 'full' } end
  local state, marks = parse_entry(held)
  if state == '!' then state, marks = '', {} end
  -- Aborted sign-ins leave their marks behind, so the oldest marks are removed.
  while #marks >= 32 do table.remove(marks, 1) end
  -- The mark is short, so that a member with one mark has at most 64 bytes. Longer members make a
  -- set take more memory.
  local mark = nonce .. time[2]
  marks[#marks + 1] = mark
  local left = redis.call('PTTL', key)
  replace_entry(id, held, format_entry(now, state, marks))
  prolong(listed, left)
  return { 'joined', mark, count + 1 }
end

-- Completes a sign-in, unless a revocation came after `join`. Answers 1 if the sign-in is complete,
-- else 0. Without the mark, the entry can be removed after the session has ended. A second run
-- finds that the first one has completed the sign-in: a revocation would have replaced the `+`.
local function verify(id, mark, listed)
  local held = find_entry(id)
  local state, marks = parse_entry(held)
  if not remove_mark(marks, mark) then return state == '+' and 1 or 0 end
  replace_entry(id, held, format_entry(now, '+', marks))
  prolong(listed, redis.call('PTTL', key))
  return 1
end

-- Withdraws a sign-in that was refused.
local function withdraw(id, mark)
  local held = find_entry(id)
  local state, marks = parse_entry(held)
  if not remove_mark(marks, mark) then return end
  local is_empty = state == '' and #marks == 0
  replace_entry(id, held, not is_empty and format_entry(joined_at(held), state, marks) or nil)
end
