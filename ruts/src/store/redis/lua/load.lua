
-- ARGV: secret, idle, after, '*' or '=', names.
-- Answer: 'found', age, age of the secret, idle left, absolute left, then name, value, left of each.
local session, refusal = open()
if not session then return refusal end
if touch(session, ARGV[2], ARGV[3]) then save(session) end

local function left(at)
  return at == 0 and -1 or at - now
end
local answer = {
  'found', math.max(now - session.created, 0), math.max(now - session.rotated, 0),
  left(session.idle), left(session.absolute),
}

-- In batches: Lua passes a few thousand arguments at most.
local function add(names, from, to)
  local values = redis.call('HMGET', key, unpack(names, from, to))
  local lifetimes = redis.call('HPTTL', key, 'FIELDS', to - from + 1, unpack(names, from, to))
  for i = 1, to - from + 1 do
    -- In the very millisecond in which a field ends, its value is still handed out.
    if values[i] and (lifetimes[i] == -1 or lifetimes[i] > 0) then
      answer[#answer + 1] = names[from + i - 1]
      answer[#answer + 1] = values[i]
      answer[#answer + 1] = lifetimes[i]
    end
  end
end

local names, first = ARGV, 5
if ARGV[4] == '*' then
  names, first = {}, 1
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if string.byte(name) ~= 126 then names[#names + 1] = name end
  end
end
for from = first, #names, 1000 do
  add(names, from, math.min(from + 999, #names))
end
return answer
