
-- ARGV: handle, nonce, for how long it stays listed, how many may be listed; 0 is no limit to either.
-- Answer: the mark; or, if there are too many, the handle and the entry of each other one.
if ARGV[4] ~= '0' then
  local full, entries = { 'full' }, redis.call('HGETALL', key)
  for i = 1, #entries, 2 do
    if entries[i] ~= ARGV[1] and live(entries[i]) then
      full[#full + 1] = entries[i]
      full[#full + 1] = entries[i + 1]
    end
  end
  if (#full - 1) / 2 >= tonumber(ARGV[4]) then return full end
end
local held = live(ARGV[1]) and redis.call('HGET', key, ARGV[1])
local state, marks = parts(held or '')
if state == '!' then state, marks = '', {} end
-- Those who died on the way leave theirs behind.
while #marks >= 32 do table.remove(marks, 1) end
local mark = ARGV[2] .. clock[1] .. '.' .. clock[2]
marks[#marks + 1] = mark
local lifetime = held and left(ARGV[1]) or 0
redis.call('HSET', key, ARGV[1], entry_of(now, state, marks))
if lifetime ~= -1 and ARGV[3] ~= '0' then
  local longest = math.max(lifetime, tonumber(ARGV[3]))
  redis.call('HPEXPIRE', key, string.format('%.0f', longest), 'FIELDS', 1, ARGV[1])
end
return { 'joined', mark }
